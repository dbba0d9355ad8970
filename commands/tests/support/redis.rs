//! A real Redis to compare with: its process, its protocol, and replies in the form that RESP2 leaves of them.

use bytes::Bytes;
use commands::Reply;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A `redis-server` of one's own, on a socket in a directory of its own; it ends with this value.
pub struct Redis {
    process: Child,
    _directory: TempDir,
    connection: BufReader<UnixStream>,
}

impl Redis {
    /// `None` if this machine has no Redis.
    pub fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let mut process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .args(["--unixsocket", socket.to_str().unwrap()])
            .args(["--dir", directory.path().to_str().unwrap()])
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut log = BufReader::new(process.stdout.take().unwrap()).lines();
        log.find(|line| {
            line.as_ref()
                .is_ok_and(|line| line.contains("ready to accept"))
        })?
        .ok()?;
        // Its later lines would fill the pipe.
        std::thread::spawn(move || log.for_each(drop));
        let connection = BufReader::new(UnixStream::connect(socket).unwrap());
        Some(Self {
            process,
            _directory: directory,
            connection,
        })
    }

    pub fn run(&mut self, args: &[&[u8]]) -> Plain {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        self.connection.get_mut().write_all(&request).unwrap();
        self.read()
    }

    fn read(&mut self) -> Plain {
        let mut line = Vec::new();
        self.connection.read_until(b'\n', &mut line).unwrap();
        let text = String::from_utf8_lossy(&line)
            .trim_end_matches(['\r', '\n'])
            .to_owned();
        let (kind, rest) = text.split_at(1);
        match kind {
            "+" => Plain::Status(rest.to_owned()),
            "-" => Plain::Error(rest.to_owned()),
            ":" => Plain::Integer(rest.parse().unwrap()),
            "$" => match usize::try_from(rest.parse::<i64>().unwrap()) {
                Err(_) => Plain::Nil,
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.connection.read_exact(&mut bytes).unwrap();
                    bytes.truncate(length);
                    Plain::Bulk(bytes.into())
                }
            },
            "*" => match usize::try_from(rest.parse::<i64>().unwrap()) {
                Err(_) => Plain::NilArray,
                Ok(length) => Plain::Array((0..length).map(|_| self.read()).collect()),
            },
            other => panic!("redis sent {other}"),
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to save either way.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A reply as RESP2 tells it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Plain {
    Status(String),
    Error(String),
    Integer(i64),
    Bulk(Bytes),
    Nil,
    NilArray,
    Array(Vec<Plain>),
}

impl Plain {
    /// The same with its elements, taken `group` at a time, in order.
    pub fn sorted(self, group: usize) -> Self {
        match self {
            Self::Array(items) => {
                let mut groups = items.chunks(group).map(<[_]>::to_vec).collect::<Vec<_>>();
                groups.sort();
                Self::Array(groups.concat())
            }
            other => other,
        }
    }
}

impl From<&Reply> for Plain {
    fn from(reply: &Reply) -> Self {
        let all = |items: &[Reply]| Self::Array(items.iter().map(Self::from).collect());
        match reply {
            Reply::Ok => Self::Status("OK".into()),
            Reply::Simple(text) => Self::Status((*text).into()),
            Reply::Error(text) => Self::Error(String::from_utf8_lossy(text).into_owned()),
            Reply::Integer(number) => Self::Integer(*number),
            Reply::Double(number) => Self::Bulk(number.to_string().into()),
            Reply::Boolean(truth) => Self::Integer((*truth).into()),
            Reply::Bulk(bytes) | Reply::Text(bytes) => Self::Bulk(bytes.clone()),
            Reply::Nil => Self::Nil,
            Reply::NilArray => Self::NilArray,
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => all(items),
            Reply::Map(pairs) | Reply::Pairs(pairs) => Self::Array(
                pairs
                    .iter()
                    .flat_map(|(key, value)| [Self::from(key), Self::from(value)])
                    .collect(),
            ),
        }
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(text) => f.write_str(text),
            Self::Error(text) => write!(f, "-{text}"),
            Self::Integer(number) => number.fmt(f),
            Self::Bulk(bytes) => write!(f, "'{}'", bytes.escape_ascii()),
            Self::Nil => f.write_str("nil"),
            Self::NilArray => f.write_str("nil array"),
            Self::Array(items) => {
                let items = items.iter().map(Self::to_string).collect::<Vec<_>>();
                write!(f, "[{}]", items.join(" "))
            }
        }
    }
}
