// The echo server as Go programs have it: a goroutine for each connection.
//   go_echo --listen 127.0.0.1:7777 --workers 1
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"runtime"
)

func serve(peer net.Conn) {
	defer peer.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := peer.Read(buffer)
		if err != nil {
			return
		}
		if _, err := peer.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "")
	workers := flag.Int("workers", 1, "")
	flag.Parse()
	runtime.GOMAXPROCS(*workers)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal("go_echo: ", err)
	}
	fmt.Println("go_echo:", listener.Addr())
	for {
		peer, err := listener.Accept()
		if err != nil {
			log.Fatal("go_echo: ", err)
		}
		go serve(peer)
	}
}
