//! The echo server as Tokio programs have it: a task for each connection.
//! tokio_echo --listen 127.0.0.1:7777 --workers 1; one worker is the current-thread scheduler.
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

async fn serve(mut peer: TcpStream) {
    let _ = peer.set_nodelay(true);
    let mut buffer = [0; 4096];
    while let Ok(n) = peer.read(&mut buffer).await {
        if n == 0 || peer.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let option = |name: &str, otherwise: &str| match words.iter().position(|w| w == name) {
        Some(at) => words[at + 1].clone(),
        None => otherwise.into(),
    };
    let listen = option("--listen", "127.0.0.1:0");
    let workers = option("--workers", "1").parse().unwrap();
    let runtime = if workers == 1 {
        Builder::new_current_thread().enable_all().build()
    } else {
        Builder::new_multi_thread().worker_threads(workers).enable_all().build()
    };
    let main = async move {
        let listener = TcpListener::bind(listen).await.unwrap();
        println!("tokio_echo: {}", listener.local_addr().unwrap());
        loop {
            let (peer, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(peer));
        }
    };
    runtime.unwrap().block_on(async { tokio::spawn(main).await.unwrap() });
}
