//! A TCP proxy before a server's port, on the server's own host: it can be slow, stall, reset connections and lose replies.
//!
//! It is what a bad network does that cutting links does not do. Bytes are never changed: that is TCP's own promise.

use super::network::Host;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a proxy does with what comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behaviour {
    /// Passes it on.
    Pass,
    /// Passes everything on so much later.
    Delay(Duration),
    /// Passes on nothing, and keeps it.
    Stall(Direction),
    /// Passes requests on, and resets the connection when something comes back.
    LoseReplies,
    /// Resets all connections, and those that are made.
    Reset,
}

/// One way or both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Towards the server.
    In,
    /// From the server.
    Out,
    /// Both.
    Both,
}

/// A running proxy, gone with this value.
#[derive(Debug)]
pub struct Proxy {
    behaviour: watch::Sender<Behaviour>,
}

impl Proxy {
    /// Listens at `at` on the host and connects to `to` from there.
    pub fn start(host: &Host, at: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let (behaviour, watched) = watch::channel(Behaviour::Pass);
        let (said, started) = std::sync::mpsc::channel();
        let namespace = host.namespace.clone();
        std::thread::spawn(move || {
            let prepare = || {
                if let Some(name) = namespace {
                    enter(&name)?;
                }
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
            };
            let runtime = match prepare() {
                Ok(runtime) => runtime,
                Err(error) => return drop(said.send(Err(error))),
            };
            runtime.block_on(async {
                match TcpListener::bind(at).await {
                    Ok(listener) => {
                        let _ = said.send(Ok(()));
                        serve(listener, to, watched).await;
                    }
                    Err(error) => drop(said.send(Err(error))),
                }
            });
        });
        started.recv().map_err(io::Error::other)??;
        Ok(Self { behaviour })
    }

    /// From now on it does this.
    pub fn behave(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }
}

/// Moves this thread to another network.
fn enter(namespace: &str) -> io::Result<()> {
    let file = File::open(Path::new("/run/netns").join(namespace))?;
    Ok(move_into_link_name_space(
        file.as_fd(),
        Some(LinkNameSpaceType::Network),
    )?)
}

async fn serve(listener: TcpListener, to: SocketAddr, mut watched: watch::Receiver<Behaviour>) {
    let gone = watched.clone();
    let accept = async {
        loop {
            let Ok((client, _)) = listener.accept().await else {
                continue;
            };
            let watched = gone.clone();
            tokio::spawn(async move {
                let _ = connection(client, to, watched).await;
            });
        }
    };
    let ended = async { while watched.changed().await.is_ok() {} };
    // Connections end with the runtime.
    tokio::select! {
        () = accept => {}
        () = ended => {}
    }
}

async fn connection(
    client: TcpStream,
    to: SocketAddr,
    mut watched: watch::Receiver<Behaviour>,
) -> io::Result<()> {
    // Whatever ends this connection is seen as a reset, as when the server itself had been killed.
    client.set_zero_linger()?;
    client.set_nodelay(true)?;
    if *watched.borrow_and_update() == Behaviour::Reset {
        return Ok(());
    }
    let server = TcpStream::connect(to).await?;
    server.set_zero_linger()?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let requests = pass(from_client, to_server, Direction::In, watched.clone());
    let replies = pass(from_server, to_client, Direction::Out, watched.clone());
    let reset = async {
        let _ = watched.wait_for(|now| *now == Behaviour::Reset).await;
    };
    tokio::select! {
        ended = requests => ended,
        ended = replies => ended,
        () = reset => Ok(()),
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    mut watched: watch::Receiver<Behaviour>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let behaviour = *watched.borrow_and_update();
        match behaviour {
            Behaviour::Delay(by) => tokio::time::sleep(by).await,
            Behaviour::Stall(stalled) if stalled == direction || stalled == Direction::Both => {
                let other = watched.wait_for(|now| *now != behaviour).await;
                drop(other.map_err(io::Error::other)?);
            }
            Behaviour::LoseReplies if direction == Direction::Out => return Ok(()),
            Behaviour::Pass | Behaviour::Reset | Behaviour::Stall(_) | Behaviour::LoseReplies => {}
        }
        to.write_all(&buffer[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};

    /// Echoes what it gets, before a proxy.
    fn echo() -> (Proxy, SocketAddr) {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let to = server.local_addr().expect("it has one");
        std::thread::spawn(move || {
            for connection in server.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let mut back = connection.try_clone().expect("a second handle");
                    std::io::copy(&mut { connection }, &mut back)
                });
            }
        });
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let at = free.expect("another port");
        let host = Host {
            namespace: None,
            address: Ipv4Addr::LOCALHOST,
        };
        (Proxy::start(&host, at, to).expect("it listens"), at)
    }

    fn connect(to: SocketAddr) -> std::net::TcpStream {
        let connection = std::net::TcpStream::connect(to).expect("it accepts");
        let patience = Some(crate::poll::PATIENCE);
        connection.set_read_timeout(patience).expect("a timeout");
        connection
    }

    fn ask(connection: &mut std::net::TcpStream) -> io::Result<[u8; 4]> {
        connection.write_all(b"ping")?;
        let mut answer = [0; 4];
        connection.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn bytes_pass_in_both_directions_also_late() {
        let (proxy, at) = echo();
        let mut connection = connect(at);
        assert_eq!(&ask(&mut connection).expect("an answer"), b"ping");
        proxy.behave(Behaviour::Delay(Duration::from_millis(1)));
        assert_eq!(&ask(&mut connection).expect("an answer"), b"ping");
    }

    #[test]
    fn lost_replies_and_resets_end_the_connection_and_the_next_one_is_served_again() {
        let (proxy, at) = echo();
        let mut connection = connect(at);
        assert!(ask(&mut connection).is_ok());
        proxy.behave(Behaviour::LoseReplies);
        assert!(ask(&mut connection).is_err());
        proxy.behave(Behaviour::Pass);
        let mut connection = connect(at);
        assert!(ask(&mut connection).is_ok());
        proxy.behave(Behaviour::Reset);
        assert!(connection.read_exact(&mut [0]).is_err());
        proxy.behave(Behaviour::Pass);
        assert!(ask(&mut connect(at)).is_ok());
    }

    #[test]
    fn what_was_stalled_arrives_when_the_stall_is_over() {
        let (proxy, at) = echo();
        let mut connection = connect(at);
        proxy.behave(Behaviour::Stall(Direction::Out));
        connection
            .write_all(b"ping")
            .expect("the other way is open");
        let other = std::thread::spawn(move || {
            let mut answer = [0; 4];
            connection.read_exact(&mut answer).map(|()| answer)
        });
        proxy.behave(Behaviour::Pass);
        let answer = other.join().expect("no panic");
        assert_eq!(&answer.expect("an answer"), b"ping");
    }
}
