//! A web server of the tests' own, for what a node posts to webhooks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// Listens on a port of its own until the process ends. `answer` gets head and body of each request, on a thread of
/// its connection, and says with which status it is answered; `None` closes the connection without an answer.
pub fn listen(answer: impl Fn(String, Vec<u8>) -> Option<u16> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || serve(stream, &*answer));
        }
    });
    address
}

/// Answers the requests of a connection until it is closed.
fn serve(mut stream: TcpStream, answer: &impl Fn(String, Vec<u8>) -> Option<u16>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
        });
        let mut body = vec![0; length?];
        reader.read_exact(&mut body).ok()?;
        let status = answer(head, body)?;
        write!(stream, "HTTP/1.1 {status} Status\r\nContent-Length: 2\r\n\r\nok").ok()?;
    }
}
