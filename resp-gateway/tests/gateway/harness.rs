//! Starts a gateway in a thread of its own, and speaks to it byte by byte.

use crate::memory::Memory;
use resp_gateway::{Limits, Mode, Options, bind, serve};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc as tokio_mpsc;
use tokio::task::LocalSet;

/// Something to be done to the backend, in its thread.
type Order = Box<dyn FnOnce(&Memory) + Send>;

/// A running gateway. Stops when it is dropped.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    orders: Option<tokio_mpsc::UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Gateway {
    /// With a table `default` of eight partitions, and a table `locked` that wants `secret`.
    pub(crate) fn start() -> Self {
        Self::with(Options::default(), |memory| memory)
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        let options = Options {
            limits,
            ..Options::default()
        };
        Self::with(options, |memory| memory)
    }

    pub(crate) fn cluster() -> Self {
        let options = Options {
            mode: Mode::Cluster,
            ..Options::default()
        };
        Self::with(options, |memory| memory)
    }

    pub(crate) fn with(options: Options, prepare: fn(Memory) -> Memory) -> Self {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (orders, mut receiver) = tokio_mpsc::unbounded_channel::<Order>();
        let thread = std::thread::spawn(move || {
            let memory = Memory::default().with_table("default", None, 8);
            let memory = Rc::new(prepare(memory.with_table("locked", Some("secret"), 8)));
            let backend = Rc::clone(&memory);
            // Orders end when the gateway is dropped.
            let shutdown = async move {
                while let Some(order) = receiver.recv().await {
                    order(&memory);
                }
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            LocalSet::new()
                .block_on(&runtime, serve(listener, options, backend, shutdown))
                .unwrap();
        });
        Self {
            address,
            orders: Some(orders),
            thread: Some(thread),
        }
    }

    /// Does something to the backend and returns what came of it.
    pub(crate) fn tell<T: Send + 'static>(
        &self,
        order: impl FnOnce(&Memory) -> T + Send + 'static,
    ) -> T {
        let (done, result) = mpsc::channel();
        let order: Order = Box::new(move |memory| done.send(order(memory)).unwrap());
        assert!(self.orders.as_ref().unwrap().send(order).is_ok());
        result.recv().unwrap()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Stops it and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok(), "the gateway panicked");
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection without any cleverness. It gives up on a silent server after a time that only a broken one needs.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        socket.set_nodelay(true).unwrap();
        Self {
            reader: BufReader::new(socket.try_clone().unwrap()),
            socket,
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Sends a command and reads its reply's bytes.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.ask_words(&words)
    }

    pub(crate) fn ask_words(&mut self, words: &[&[u8]]) -> String {
        self.send(&command(words));
        self.reply()
    }

    /// One reply's bytes as text.
    pub(crate) fn reply(&mut self) -> String {
        String::from_utf8_lossy(&self.reply_bytes()).into_owned()
    }

    pub(crate) fn reply_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.read_reply(&mut bytes);
        bytes
    }

    fn read_reply(&mut self, bytes: &mut Vec<u8>) {
        let from = bytes.len();
        self.reader.read_until(b'\n', bytes).unwrap();
        let line = String::from_utf8_lossy(&bytes[from..]).into_owned();
        assert!(!line.is_empty(), "the server has closed the connection");
        let count = line[1..].trim_end().parse::<i64>().unwrap_or(0);
        match line.as_bytes()[0] {
            b'$' | b'=' if count >= 0 => {
                let from = bytes.len();
                bytes.resize(from + count as usize + 2, 0);
                self.reader.read_exact(&mut bytes[from..]).unwrap();
            }
            b'*' | b'~' | b'>' => (0..count).for_each(|_| self.read_reply(bytes)),
            b'%' => (0..2 * count).for_each(|_| self.read_reply(bytes)),
            _ => {}
        }
    }

    /// Everything until the server closes the connection.
    pub(crate) fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        // A reset says as much as an end.
        let _ = self.reader.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A command's bytes.
pub(crate) fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Keys named `k<n>` for each of the eight partitions, in the partitions' order.
pub(crate) fn key_of_each_partition() -> Vec<String> {
    (0..8)
        .map(|partition| {
            (0..10_000)
                .map(|n| format!("k{n}"))
                .find(|key| types::Slot::of(key.as_bytes()).partition(8) == partition)
                .unwrap()
        })
        .collect()
}
