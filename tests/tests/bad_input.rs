//! Nonsense on every port of a running cluster: one clear error, the connection ends, nobody else notices, memory stays flat.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use redis::{Connection, cmd};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;
use tests::doors::redis;
use tests::http2::{self, End};
use tests::tools::redis_benchmark;
use tests::writers::seed;
use tests::{Cluster, Options, process};

/// What a server may hold more after it has been sent nonsense: caches and buffers that grow with any use.
const FLAT: u64 = 64 << 20;

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the port accepts");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    stream
}

/// Everything the server says until it ends the connection.
fn answer_until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!(
            "the connection did not end: {error}; {}",
            String::from_utf8_lossy(&answer)
        ),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends bytes that must end the connection.
fn fatal(address: &str, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    // The server may hang up before it has read all.
    let _ = stream.write_all(bytes);
    answer_until_closed(&mut stream)
}

/// A client that was there before, on one connection throughout.
struct Bystander(Connection, u64);

impl Bystander {
    fn is_undisturbed(&mut self) {
        self.1 += 1;
        cmd("SET")
            .arg("bystander")
            .arg(self.1)
            .exec(&mut self.0)
            .expect("its SET is done");
        assert_eq!(cmd("GET").arg("bystander").query(&mut self.0), Ok(self.1));
    }
}

/// The memory of every server, and its name.
fn memory(cluster: &Cluster) -> Vec<(String, u32, u64)> {
    let servers = cluster.servers().into_iter();
    servers
        .map(|server| {
            (
                server.name.clone(),
                server.process(),
                process::resident(server.process()),
            )
        })
        .collect()
}

fn assert_flat(cluster: &Cluster, before: &[(String, u32, u64)]) {
    for ((name, pid, now), (_, pid_before, then)) in memory(cluster).iter().zip(before) {
        assert_eq!(pid, pid_before, "{name} was started again");
        let grown = now.saturating_sub(*then);
        println!("{name}: {} MiB, {} MiB more", now >> 20, grown >> 20);
        assert!(grown < FLAT, "{name} grew by {grown} bytes");
    }
}

#[test]
fn nonsense_on_a_redis_port_ends_that_connection_with_one_error() {
    let cluster = Cluster::start(Options::default());
    let mut random = SmallRng::seed_from_u64(seed());
    // What any use would make them hold is there before the measurement.
    redis_benchmark(
        &cluster.gateway(),
        &["-n", "5000", "-c", "50", "-P", "16", "-t", "set,get"],
    );
    let before = memory(&cluster);
    for port in cluster.redis_ports() {
        let mut bystander = Bystander(redis(&port), 0);
        let endless = vec![b'x'; 100_000];
        let cases: [(&[u8], &str); 8] = [
            (
                b"*2147483648\r\n",
                "-ERR Protocol error: invalid multibulk length\r\n",
            ),
            (
                b"*1\r\n$1152921504606846976\r\n",
                "-ERR Protocol error: invalid bulk length\r\n",
            ),
            (
                b"*99999999999999999999\r\n",
                "-ERR Protocol error: invalid multibulk length\r\n",
            ),
            (
                b"*1\r\n$-5\r\n",
                "-ERR Protocol error: invalid bulk length\r\n",
            ),
            (
                b"*1\r\n:5\r\n",
                "-ERR Protocol error: expected '$', got ':'\r\n",
            ),
            (
                b"*1\r\n$x\r\n",
                "-ERR Protocol error: invalid bulk length\r\n",
            ),
            (
                b"SET \"open\r\n",
                "-ERR Protocol error: unbalanced quotes in request\r\n",
            ),
            (&endless, "-ERR Protocol error: too big inline request\r\n"),
        ];
        for (bytes, error) in cases {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(30)]).into_owned();
            assert_eq!(fatal(&port, bytes), error, "{shown:?} at {port}");
            bystander.is_undisturbed();
        }
        // Bytes that happen to be lines are unknown commands, as in Redis.
        let mut stream = connect(&port);
        stream
            .write_all(b"\xff\xfe\x00garbage\r\nPING\r\n")
            .expect("it reads on");
        stream.shutdown(Shutdown::Write).expect("we are done");
        let answer = answer_until_closed(&mut stream);
        assert!(answer.starts_with("-ERR unknown command"), "{answer}");
        assert!(answer.ends_with("+PONG\r\n"), "{answer}");
        // Half a command and then nothing is no command.
        let mut half = connect(&port);
        half.write_all(b"*3\r\n$3\r\nSET\r\n$9\r\nbystander\r\n$100\r\nhalf")
            .expect("it reads on");
        half.shutdown(Shutdown::Write).expect("we are done");
        assert_eq!(answer_until_closed(&mut half), "");
        bystander.is_undisturbed();
        for _ in 0..20 {
            let mut bytes = vec![0; 64 << 10];
            random.fill_bytes(&mut bytes);
            let mut stream = connect(&port);
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(Shutdown::Write);
            let answer = answer_until_closed(&mut stream);
            assert!(answer.is_empty() || answer.starts_with('-'), "{answer}");
        }
        bystander.is_undisturbed();
    }
    assert_flat(&cluster, &before);
}

#[test]
fn lengths_that_are_only_declared_cost_no_memory() {
    let cluster = Cluster::start(Options::default());
    redis_benchmark(
        &cluster.gateway(),
        &["-n", "5000", "-c", "50", "-P", "16", "-t", "set,get"],
    );
    let before = memory(&cluster);
    for port in cluster.redis_ports() {
        let mut bystander = Bystander(redis(&port), 0);
        // As many arguments and as long a bulk as are allowed, on many connections at once, none of them sent.
        let waiting: Vec<TcpStream> = (0..100)
            .map(|number| {
                let mut stream = connect(&port);
                let declared: &[u8] = match number % 2 {
                    0 => b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$60000000\r\nx",
                    _ => b"*1000000\r\n$4\r\nMGET\r\n$1\r\nk\r\n",
                };
                stream.write_all(declared).expect("it reads on");
                stream
            })
            .collect();
        bystander.is_undisturbed();
        assert_flat(&cluster, &before);
        drop(waiting);
        bystander.is_undisturbed();
    }
}

#[test]
fn nonsense_on_a_grpc_port_ends_that_connection_or_call_alone() {
    let cluster = Cluster::start(Options::default());
    let mut random = SmallRng::seed_from_u64(seed());
    redis_benchmark(
        &cluster.gateway(),
        &["-n", "5000", "-c", "50", "-P", "16", "-t", "set,get"],
    );
    let before = memory(&cluster);
    let mut bystander = Bystander(redis(&cluster.gateway()), 0);
    let mut wrong = Vec::new();
    let replica = [
        "/tulpar.data.v1.Data/Execute",
        "/tulpar.peer.v1.Peers/Replicate",
        "/tulpar.peer.v1.Peers/Beacons",
        "/tulpar.peer.v1.Peers/Checkpoint",
        "/tulpar.inspect.v1.Inspect/Replica",
        "/tulpar.nosuch.v1.Service/Method",
    ];
    let meta = [
        "/tulpar.meta.v1.Routes/Query",
        "/tulpar.meta.v1.Routes/Watch",
        "/tulpar.meta.v1.Admin/CreateTable",
        "/tulpar.meta.v1.Nodes/Join",
    ];
    let replica_port = cluster
        .server("replica-1")
        .grpc
        .expect("a replica server's port");
    for (port, methods) in [(replica_port, &replica[..]), (cluster.meta(), &meta[..])] {
        for _ in 0..10 {
            let mut bytes = vec![0; 32 << 10];
            random.fill_bytes(&mut bytes);
            let mut stream = connect(&port);
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(Shutdown::Write);
            answer_until_closed(&mut stream);
        }
        bystander.is_undisturbed();
        for method in methods {
            // 4 GiB declared, some KiB sent; then a message of a fitting length that is no message.
            for (declared, sent) in [(u32::MAX, 50_000), (50_000, 50_000), (80 << 20, 50_000)] {
                let end = http2::declare(&port, method, declared, sent);
                if !matches!(end, End::Refused | End::Reset) {
                    wrong.push(format!("{method} with {declared} bytes declared: {end:?}"));
                }
            }
            bystander.is_undisturbed();
        }
    }
    assert!(wrong.is_empty(), "not refused: {wrong:#?}");
    assert_flat(&cluster, &before);
    cluster.equal_copies("default", 3);
}
