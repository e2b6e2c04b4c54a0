//! A receiver that follows a script, byte by byte, and remembers what came.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<String>,
}

/// Listens as long as the test runs.
pub struct Receiver {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Receiver {
    /// Runs `script` on every connection.
    pub async fn start<F>(script: impl Fn(Peer) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::<Mutex<Seen>>::default());
        let of_peers = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                of_peers.lock().unwrap().connections += 1;
                let number = of_peers.lock().unwrap().connections;
                tokio::spawn(script(Peer { stream, number, seen: Arc::clone(&of_peers) }));
            }
        });
        Self { address, seen }
    }

    /// One that takes every request and answers each with the same bytes.
    pub async fn saying(answer: impl AsRef<[u8]>) -> Self {
        let answer = Arc::new(answer.as_ref().to_vec());
        Self::start(move |mut peer| {
            let answer = Arc::clone(&answer);
            async move {
                while peer.request().await.is_some() {
                    peer.say(&*answer).await;
                }
            }
        })
        .await
    }

    /// One that takes a request, says something, and then does something else.
    pub async fn saying_then(first: impl AsRef<[u8]>, then: Then) -> Self {
        let first = Arc::new(first.as_ref().to_vec());
        Self::start(move |mut peer| {
            let first = Arc::clone(&first);
            async move {
                peer.request().await;
                peer.say(&*first).await;
                then.act(peer.stream).await;
            }
        })
        .await
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// The requests that came whole.
    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().requests.clone()
    }
}

/// What a receiver does once it has said something.
#[derive(Debug, Clone, Copy)]
pub enum Then {
    /// Closes the connection.
    Close,
    /// Breaks it with a TCP reset.
    Reset,
    /// Keeps it, and is silent.
    Stay,
    /// Sends the bytes one by one, ten a second, over and over.
    Drip(&'static [u8]),
    /// Sends the bytes over and over, as fast as they are taken.
    Flood(&'static [u8]),
}

impl Then {
    /// Does it, on a connection on which all has been said.
    pub async fn act(self, stream: impl Connection) {
        let bytes = match self {
            Self::Close => return,
            Self::Reset => return stream.reset(),
            Self::Stay => b"",
            Self::Drip(bytes) | Self::Flood(bytes) => bytes,
        };
        // What the other side says is taken all the while.
        let (mut from, mut to) = tokio::io::split(stream);
        let listening = async {
            let mut rest = [0; 4096];
            while matches!(from.read(&mut rest).await, Ok(1..)) {}
        };
        let saying = async {
            match self {
                Self::Drip(_) => {
                    for byte in bytes.iter().cycle() {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        if to.write_all(&[*byte]).await.is_err() || to.flush().await.is_err() {
                            return;
                        }
                    }
                }
                Self::Flood(_) => {
                    let bytes = bytes.repeat(16_384usize.div_ceil(bytes.len()));
                    while to.write_all(&bytes).await.is_ok() {}
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! { () = listening => {} () = saying => {} }
    }
}

/// A connection that can be broken.
pub trait Connection: AsyncRead + AsyncWrite + Unpin {
    /// Breaks it with a TCP reset.
    fn reset(self);
}

impl Connection for TcpStream {
    fn reset(self) {
        self.set_zero_linger().unwrap();
    }
}

impl Connection for TlsStream<TcpStream> {
    fn reset(self) {
        self.into_inner().0.reset();
    }
}

/// The receiver's end of a connection.
pub struct Peer {
    pub stream: TcpStream,
    /// Which connection it is, from 1.
    pub number: usize,
    seen: Arc<Mutex<Seen>>,
}

impl Peer {
    /// The next request, whole; none if the connection ends before.
    pub async fn request(&mut self) -> Option<String> {
        let request = read_request(&mut self.stream).await?;
        self.seen.lock().unwrap().requests.push(request.clone());
        Some(request)
    }

    /// The requests that came whole, on all connections.
    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// Sends bytes; gives whether the other side still took them.
    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Waits until the other side has closed the connection.
    pub async fn closed(mut self) {
        let mut rest = [0; 4096];
        while matches!(self.stream.read(&mut rest).await, Ok(1..)) {}
    }

    /// Breaks the connection with a TCP reset.
    pub fn reset(self) {
        self.stream.reset();
    }
}

/// Reads a request with a `content-length`.
pub async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(head) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8(request[..head].to_vec()).unwrap();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("content-length");
            if request.len() == head + 4 + length.parse::<usize>().unwrap() {
                return Some(String::from_utf8(request).unwrap());
            }
        }
        match stream.read(&mut buffer).await {
            Ok(n @ 1..) => request.extend_from_slice(&buffer[..n]),
            _ => return None,
        }
    }
}
