// The page of websocket_chat.
#pragma once
#include <string_view>

inline constexpr std::string_view chat_page = R"html(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>coir chat</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 0; height: 100vh; display: flex;
         flex-direction: column; background: #f6f4ef; color: #2b2a27; }
  header { padding: .6em 1em; background: #3d5a4c; color: #fff; }
  header small { opacity: .75; float: right; }
  #lines { flex: 1; overflow-y: auto; padding: .5em 1em; }
  #lines p { margin: .3em 0; overflow-wrap: anywhere; }
  #lines time { color: #98948a; font-size: .8em; margin-right: .6em; }
  #lines .news { color: #7b776d; font-style: italic; }
  form { display: flex; gap: .5em; padding: .8em 1em; background: #e9e5db; }
  input { flex: 1; font: inherit; padding: .4em .6em; border: 1px solid #c9c3b4;
          border-radius: .4em; }
  button { font: inherit; padding: .4em 1.2em; border: 0; border-radius: .4em;
           background: #3d5a4c; color: #fff; }
</style>
<header>coir chat <small id="state">not connected</small></header>
<div id="lines"></div>
<form id="form">
  <input id="text" placeholder="your name" maxlength="500" autocomplete="off" autofocus>
  <button>Send</button>
</form>
<script>
  const at = id => document.getElementById(id);
  let socket = null, name = '';

  function add(message) {
    const p = document.createElement('p'), time = document.createElement('time');
    time.textContent = new Date(message.at).toTimeString().slice(0, 5);
    p.append(time);
    if (message.from) {
      const who = document.createElement('b');
      who.textContent = message.from + ': ';
      who.style.color = 'hsl(' + [...message.from].reduce((h, c) =>
        (h * 31 + c.codePointAt(0)) % 360, 7) + ' 60% 32%)';
      p.append(who, message.text);
    } else {
      p.className = 'news';
      p.append(message.text);
    }
    at('lines').append(p);
    p.scrollIntoView();
  }

  function connect() {
    socket = new WebSocket((location.protocol === 'https:' ? 'wss:' : 'ws:') + '//' +
                           location.host + '/ws');
    socket.onopen = () => { socket.send(name); at('state').textContent = name; };
    socket.onmessage = event => add(JSON.parse(event.data));
    socket.onclose = event => {
      at('state').textContent = 'not connected (' + event.code + ')';
      setTimeout(connect, 2000);
      at('lines').replaceChildren();
    };
  }

  at('form').onsubmit = event => {
    event.preventDefault();
    const text = at('text').value.trim();
    if (!text) return;
    at('text').value = '';
    if (socket) {
      socket.send(text);
    } else {
      name = text;
      at('text').placeholder = 'say something';
      connect();
    }
  };
</script>
</html>
)html";
