//! A stream that gives its reader nothing that was sent in clear after the server's answer to STARTTLS. An attacker on the network
//! could append answers to it, and the client would take them for answers from inside the encryption (CVE-2021-38371 and others).

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A connection before and after STARTTLS.
#[derive(Debug)]
pub(super) struct GuardedStream {
    stream: TcpStream,
    /// Whether STARTTLS was sent and its answer has not ended. Then reads return one byte each, and the rest stays in the socket,
    /// where TLS finds it and fails.
    awaits_answer: bool,
}

impl GuardedStream {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, awaits_answer: false }
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.awaits_answer || buffer.remaining() == 0 {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut one))?;
        if one.filled() == b"\n" {
            self.awaits_answer = false;
        }
        buffer.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.starts_with(b"STARTTLS") {
            self.awaits_answer = true;
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncTokioStream for GuardedStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Returns what one read with a large buffer yields, and the bytes that are left in the socket. The server has sent `answer`
    /// to `command` before.
    async fn read_once(command: &str, answer: &str) -> (String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut server = listener.accept().await.unwrap().0;
        let mut stream = GuardedStream::new(client);
        stream.write_all(command.as_bytes()).await.unwrap();
        let mut buffer = [0; 256];
        server.read_exact(&mut buffer[..command.len()]).await.unwrap();
        server.write_all(answer.as_bytes()).await.unwrap();
        while stream.stream.peek(&mut buffer).await.unwrap() < answer.len() {
            tokio::task::yield_now().await;
        }
        let mut read = String::new();
        while !read.ends_with('\n') {
            let count = stream.read(&mut buffer).await.unwrap();
            read += std::str::from_utf8(&buffer[..count]).unwrap();
        }
        drop(server);
        let mut left = String::new();
        stream.stream.read_to_string(&mut left).await.unwrap();
        (read, left)
    }

    #[tokio::test]
    async fn what_follows_the_answer_to_starttls_is_left_to_tls() {
        let (answer, injected) = ("220 go ahead\r\n", "250-sink\r\n250 AUTH PLAIN\r\n");
        let (read, left) = read_once("STARTTLS\r\n", &format!("{answer}{injected}")).await;
        assert_eq!((read.as_str(), left.as_str()), (answer, injected));
        // Other answers are read as they arrive.
        let whole = format!("{answer}{injected}");
        assert_eq!(read_once("EHLO client\r\n", &whole).await, (whole, String::new()));
    }
}
