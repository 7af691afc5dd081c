//! A WebSocket client by hand (RFC 6455), on its own: it shares no line with the server's.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::house::PATIENCE;

/// What a server sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Ping,
    Close(u16, String),
    /// The connection ended.
    End,
}

pub(crate) struct Socket {
    stream: TcpStream,
}

impl Socket {
    /// Asks to upgrade; `headers` are whole lines. Gives the status when it is not 101.
    pub(crate) async fn open(address: SocketAddr, path: &str, headers: &[String]) -> Result<Self, u16> {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status == 101 {
            // The answer to that key in RFC 6455 §1.3.
            assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
            return Ok(Self { stream });
        }
        Err(status)
    }

    pub(crate) async fn next(&mut self) -> Frame {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("a frame comes").unwrap_or(Frame::End)
    }

    /// The next text, as JSON; pings before it are answered.
    pub(crate) async fn json(&mut self) -> serde_json::Value {
        loop {
            match self.next().await {
                Frame::Text(text) => return serde_json::from_str(&text).unwrap(),
                Frame::Ping => self.send(0xA, b"").await,
                other => panic!("{other:?}"),
            }
        }
    }

    async fn read(&mut self) -> std::io::Result<Frame> {
        let (first, second) = (self.stream.read_u8().await?, self.stream.read_u8().await?);
        assert_eq!((first & 0xF0, second & 0x80), (0x80, 0), "whole frames, without a mask");
        let length = match second {
            126 => usize::from(self.stream.read_u16().await?),
            127 => usize::try_from(self.stream.read_u64().await?).unwrap(),
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ok(match first & 0x0F {
            0x1 => Frame::Text(text(&payload)),
            0x8 => Frame::Close(u16::from_be_bytes([payload[0], payload[1]]), text(&payload[2..])),
            0x9 => Frame::Ping,
            other => panic!("opcode {other}"),
        })
    }

    /// A frame whose mask is zero; an error means that the server has gone, which the next read says too.
    pub(crate) async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode];
        match u16::try_from(payload.len()).unwrap() {
            short @ 0..=125 => frame.push(0x80 | short.to_be_bytes()[1]),
            long => {
                frame.push(0x80 | 126);
                frame.extend(long.to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        let _ = self.stream.write_all(&frame).await;
    }
}
