//! HTTP/1.1 over a socket, in TLS or not: sends exactly the bytes it is given.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection};

/// Bounds every wait for the node: only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Connection {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Received, not yet taken.
    pending: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What stands in the first XML element of that name.
    pub fn element(&self, name: &str) -> Option<String> {
        elements(&self.text(), name).into_iter().next()
    }

    /// Panics unless the status is as expected.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.text());
        self
    }

    /// Panics unless this is S3's XML error with that status and code, and a request id in body and header.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Self {
        assert_eq!(
            (self.status, self.element("Code").as_deref()),
            (status, Some(code)),
            "{:?}\n{}",
            self.headers,
            self.text()
        );
        assert_eq!(self.header("content-type"), Some("application/xml"));
        let id = self.element("RequestId").expect("an error has a RequestId");
        assert!(!id.is_empty());
        assert_eq!(self.header("x-amz-request-id"), Some(id.as_str()));
        self
    }
}

/// The contents of all XML elements of that name, unescaped, in order.
pub fn elements(text: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(&open) {
        rest = &rest[start + open.len()..];
        let Some(end) = rest.find(&close) else { break };
        found.push(unescape(&rest[..end]));
        rest = &rest[end + close.len()..];
    }
    found
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        let end = start + rest[start..].find(';').expect("an entity ends");
        out.push_str(&rest[..start]);
        match &rest[start + 1..end] {
            "amp" => out.push('&'),
            "lt" => out.push('<'),
            "gt" => out.push('>'),
            "quot" => out.push('"'),
            "apos" => out.push('\''),
            number => {
                let number = number.strip_prefix('#').expect("a known entity");
                let code = match number.strip_prefix('x') {
                    Some(digits) => u32::from_str_radix(digits, 16),
                    None => number.parse(),
                };
                out.push(char::from_u32(code.unwrap()).unwrap());
            }
        }
        rest = &rest[end + 1..];
    }
    out + rest
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, tls: None, pending: Vec::new() })
    }

    /// A connection in TLS to the server that is called `name`, once both agreed.
    pub fn open_tls(address: SocketAddr, name: &str, config: Arc<ClientConfig>) -> io::Result<Self> {
        let mut this = Self::open(address)?;
        let name = name.to_owned().try_into().expect("a name");
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut this.stream)?;
        }
        this.tls = Some(Box::new(tls));
        Ok(this)
    }

    /// What TLS knows of the connection.
    pub fn tls(&mut self) -> &mut ClientConnection {
        self.tls.as_mut().expect("a connection in TLS")
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => {
                let mut stream = rustls::Stream::new(tls.as_mut(), &mut self.stream);
                stream.write_all(bytes)?;
                stream.flush()
            }
            None => self.stream.write_all(bytes),
        }
    }

    /// The same connection, to send on while another thread receives.
    pub fn duplicate(&self) -> io::Result<Self> {
        assert!(self.tls.is_none(), "both directions of TLS share their state");
        Ok(Self { stream: self.stream.try_clone()?, tls: None, pending: Vec::new() })
    }

    /// The socket itself.
    pub fn stream(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor is left")
    }

    /// Nothing more will be sent; receiving goes on.
    pub fn finish_sending(&self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)
    }

    /// The next response; a response to HEAD has no body.
    pub fn receive(&mut self, to_head: bool) -> io::Result<Response> {
        let mut response = self.receive_head()?;
        let no_body = to_head || response.status < 200 || response.status == 204 || response.status == 304;
        if no_body {
            return Ok(response);
        }
        let is_chunked = response.header("transfer-encoding").is_some_and(|value| value.contains("chunked"));
        response.body = if is_chunked {
            self.chunks()?
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| bad("Content-Length"))?;
            self.take(length)?
        } else {
            self.rest()?
        };
        Ok(response)
    }

    /// Status line and headers alone.
    pub fn receive_head(&mut self) -> io::Result<Response> {
        let end = loop {
            if let Some(at) = self.pending.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head: Vec<u8> = self.pending.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| bad(status_line))?;
        let headers = lines
            .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| bad(&head))?;
        Ok(Response { status, headers, body: Vec::new() })
    }

    /// Whether the node closes the connection next, without sending anything more. Waits for it.
    pub fn is_closed(&mut self) -> bool {
        self.pending.is_empty()
            && matches!(self.more(), Err(error) if error.kind() != io::ErrorKind::WouldBlock)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let length = usize::from_str_radix(line.trim(), 16).map_err(|_| bad(&line))?;
            if length == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(length)?);
            self.line()?;
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.pending.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.pending.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.more()?;
        }
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.pending.len() < length {
            self.more()?;
        }
        let rest = self.pending.split_off(length);
        Ok(std::mem::replace(&mut self.pending, rest))
    }

    fn rest(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.more() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.pending));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 64 * 1024];
        let count = loop {
            let read = match &mut self.tls {
                Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.stream).read(&mut bytes),
                None => self.stream.read(&mut bytes),
            };
            match read {
                // The process was stopped and goes on: signal(7) has what a timeout makes of that.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pending.extend_from_slice(&bytes[..count]);
        Ok(())
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {what:?}"))
}
