//! The same lines to the gateway and to Debian's redis-server: equal replies, byte by byte, errors included.

use crate::harness::{Client, Gateway};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

/// A redis-server of our own, killed at the end.
struct Redis {
    process: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Redis {
    fn start() -> Self {
        // Redis cannot choose a port by itself. If somebody takes this one in between it says so, and another is tried.
        for _ in 0..10 {
            let address = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap();
            let directory = tempfile::tempdir().unwrap();
            let mut process = Command::new("redis-server")
                .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--appendonly", "no", "--dir"])
                .arg(directory.path())
                .stdout(Stdio::piped())
                .spawn()
                .expect("redis-server is needed for this test (Debian: redis-server)");
            let output = BufReader::new(process.stdout.take().unwrap());
            let ready = output
                .lines()
                .map_while(Result::ok)
                .any(|line| line.contains("Ready to accept connections"));
            if ready {
                return Self {
                    process,
                    address,
                    _directory: directory,
                };
            }
            let _ = process.wait();
        }
        panic!("redis-server does not start");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command a line.
const TRANSCRIPT: &str = "\
PING
PING hello
PING a b
ECHO hello
ECHO
SELECT 0
SELECT 1000
SELECT -1
SELECT banana
AUTH x
AUTH a b c
AUTH default anything
NONSENSE
NONSENSE some arguments
nonsense with 'quoted words' and \"a b\"
GET
GET a b
CLIENT
CLIENT GETNAME
CLIENT SETNAME some-name
CLIENT GETNAME
CLIENT SETNAME \"with space\"
CLIENT GETNAME
CLIENT SETNAME
CLIENT REPLY banana
CLIENT NO-EVICT on
CLIENT NO-EVICT banana
CLIENT GETREDIR
CLIENT KILL ID 0
CLIENT KILL banana
CLIENT KILL ID
CLIENT LIST TYPE banana
CLIENT NONSENSE
CONFIG
CONFIG GET save
CONFIG GET appendonly
CONFIG GET nonsense
CONFIG GET
CONFIG NONSENSE
CONFIG RESETSTAT
COMMAND NONSENSE
COMMAND COUNT x
COMMAND GETKEYS GET a
COMMAND GETKEYS MSET a 1 b 2
COMMAND GETKEYS PING x
COMMAND GETKEYS PING
COMMAND GETKEYS NONSENSE
COMMAND INFO nonsense
COMMAND LIST FILTERBY MODULE x
CLUSTER INFO
CLUSTER
HELLO banana
HELLO 4
HELLO 2 NONSENSE
HELLO 2 AUTH a
SET key value
GET key
SET key
SETRANGE key banana x
HSET hash a 1 b 2
HGETALL hash
GET hash
HGET hash nothing
MGET key nothing hash
EXISTS key key nothing
OBJECT NONSENSE key
OBJECT ENCODING
RESET
READONLY x
TIME x
SCAN banana
SCAN 0 COUNT
SCAN 0 NONSENSE 1
HSCAN hash 0
HSCAN nothing 0
HSCAN hash banana
DBSIZE
KEYS nothing*
DEL key hash nothing
FLUSHALL nonsense
FLUSHALL
DBSIZE
INCR counter
QUIT";

/// Where Tulpar means something else; said in its documentation.
const DIFFERENT: [&str; 4] = [
    // There is one database.
    "SELECT 1000",
    // Answered without a cluster as well.
    "READONLY x",
    "CLUSTER",
    "CLUSTER INFO",
];

#[test]
fn sessions_and_their_errors_are_those_of_redis() {
    let gateway = Gateway::start();
    let redis = Redis::start();
    let mut ours = gateway.connect();
    let mut theirs = Client::connect(redis.address);
    let mut differences = Vec::new();
    for line in TRANSCRIPT.lines() {
        let bytes = format!("{line}\r\n");
        ours.send(bytes.as_bytes());
        theirs.send(bytes.as_bytes());
        let (ours, theirs) = (ours.reply(), theirs.reply());
        if ours != theirs && !DIFFERENT.contains(&line) {
            differences.push(format!("{line}\n   here  {ours:?}\n   Redis {theirs:?}"));
        }
    }
    assert_eq!(ours.rest(), theirs.rest());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn resp3_replies_are_those_of_redis() {
    let gateway = Gateway::start();
    let redis = Redis::start();
    for encoding in [false, true] {
        gateway.tell(move |memory| memory.encoding.set(encoding));
        let mut ours = gateway.connect();
        let mut theirs = Client::connect(redis.address);
        for client in [&mut ours, &mut theirs] {
            assert!(client.ask("HELLO 3").starts_with("%7\r\n"));
            client.ask("FLUSHALL");
        }
        for line in [
            "GET nothing",
            "MGET a b",
            "HSET hash a 1",
            "HGETALL hash",
            "HRANDFIELD hash 2 WITHVALUES",
            "HRANDFIELD hash",
            "HRANDFIELD nothing 2",
            "CONFIG GET save",
            "HMGET hash a b",
            "INCRBYFLOAT float 1.5",
            "OBJECT ENCODING nothing",
            "CLIENT GETNAME",
            "COMMAND INFO nonsense",
            "TYPE hash",
            "EXPIRE hash 100",
            "RANDOMKEY x",
        ] {
            assert_eq!(ours.ask(line), theirs.ask(line), "{line}");
        }
    }
}

#[test]
fn what_is_no_command_gets_the_error_that_redis_gives_and_the_end() {
    let gateway = Gateway::start();
    let redis = Redis::start();
    for bytes in [
        &b"*1\r\n$1152921504606846976\r\n"[..],
        b"*2147483648\r\n",
        b"*banana\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\nbanana\r\n",
        b"*2\r\n$4\r\nPING\r\n:1\r\n",
        b"SET \"open\r\n",
        b"PING\r\n*1\r\n$x\r\n",
        b"GET key value \x01\xff\r\nQUIT\r\n",
        b"*0\r\n*-1\r\n\r\nPING\r\nQUIT\r\n",
        b"*1\r\n$4\r\nQUIT\r\nPING\r\n",
    ] {
        let mut ours = gateway.connect();
        let mut theirs = Client::connect(redis.address);
        ours.send(bytes);
        theirs.send(bytes);
        assert_eq!(ours.rest(), theirs.rest(), "{}", bytes.escape_ascii());
    }
    assert_eq!(gateway.connect().ask("PING"), "+PONG\r\n");
}
