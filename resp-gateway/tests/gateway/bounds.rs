//! What one client can take from the server, and that the others do not feel it.

use crate::harness::{Gateway, command};
use resp_gateway::Limits;
use std::io::Write;
use std::time::Duration;

/// This process' memory in bytes.
fn memory() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn one_client_too_many_is_told_so() {
    let gateway = Gateway::with_limits(Limits {
        max_clients: 2,
        ..Limits::default()
    });
    let mut clients = [gateway.connect(), gateway.connect()];
    for client in &mut clients {
        assert_eq!(client.ask("PING"), "+PONG\r\n");
    }
    assert_eq!(
        gateway.connect().rest(),
        "-ERR max number of clients reached\r\n"
    );
    assert!(
        clients[0]
            .ask("INFO stats")
            .contains("rejected_connections:1")
    );
    let [first, mut second] = clients;
    drop(first);
    // The gateway learns of the end in its own time.
    while !second
        .ask("INFO clients")
        .contains("connected_clients:1\r\n")
    {}
    assert_eq!(gateway.connect().ask("PING"), "+PONG\r\n");
}

#[test]
fn arguments_lines_and_commands_have_their_longest() {
    let gateway = Gateway::with_limits(Limits {
        max_bulk: 1000,
        max_args: 5,
        max_inline: 100,
        max_query: 3000,
        ..Limits::default()
    });
    let error = |bytes: &[u8]| {
        let mut client = gateway.connect();
        client.send(bytes);
        client.rest()
    };
    assert_eq!(
        error(b"*2\r\n$3\r\nGET\r\n$1001\r\n"),
        "-ERR Protocol error: invalid bulk length\r\n"
    );
    assert_eq!(
        error(b"*6\r\n"),
        "-ERR Protocol error: invalid multibulk length\r\n"
    );
    assert_eq!(
        error(&[b'x'; 200]),
        "-ERR Protocol error: too big inline request\r\n"
    );
    assert_eq!(
        error(&[&b"*"[..], &[b'1'; 200]].concat()),
        "-ERR Protocol error: too big mbulk count string\r\n"
    );
    let long = [b'x'; 1000];
    let whole = command(&[b"DEL", &long, &long, &long, &long]);
    assert_eq!(
        error(&whole[..3500]),
        "-ERR Protocol error: too big request\r\n"
    );
}

#[test]
fn declaring_much_takes_no_memory() {
    let gateway = Gateway::start();
    let before = memory();
    let clients: Vec<_> = (0..200)
        .map(|_| {
            let mut client = gateway.connect();
            client.send(b"*1048576\r\n$67108864\r\nabc");
            client
        })
        .collect();
    // Who connects last is served last.
    assert_eq!(gateway.connect().ask("PING"), "+PONG\r\n");
    let grown = memory().saturating_sub(before);
    assert!(grown < 64 << 20, "200 declared commands took {grown} bytes");
    drop(clients);
}

#[test]
fn a_client_that_does_not_read_is_not_read_further_and_the_others_are_served() {
    let gateway = Gateway::start();
    let mut slow = gateway.connect();
    let value = vec![b'v'; 100_000];
    assert_eq!(slow.ask_words(&[b"SET", b"key", &value]), "+OK\r\n");
    let mut socket = slow.socket.try_clone().unwrap();
    let asks = 5_000;
    // Half a gigabyte of replies: more than any buffer, and more than would be allowed.
    let sender = std::thread::spawn(move || {
        let bytes = command(&[b"GET", b"key"]).repeat(asks);
        socket.write_all(&bytes).unwrap();
    });
    let mut other = gateway.connect();
    let before = memory();
    for n in 0..2_000 {
        assert_eq!(other.ask(&format!("SET n {n}")), "+OK\r\n");
    }
    let backlog = |line: String| -> usize {
        let behind = line.split("omem=").nth(1).unwrap();
        behind.split(' ').next().unwrap().parse().unwrap()
    };
    let list = other.ask("CLIENT LIST");
    for line in list.lines().filter(|line| line.contains("cmd=")) {
        let waiting = backlog(line.to_owned());
        assert!(waiting <= 2 << 20, "{waiting} bytes wait for {line}");
    }
    assert!(memory().saturating_sub(before) < 32 << 20);
    for _ in 0..asks {
        assert_eq!(slow.reply_bytes().len(), 9 + 100_000 + 2);
    }
    sender.join().unwrap();
}

#[test]
fn a_client_that_asked_for_more_than_may_wait_is_closed() {
    let gateway = Gateway::with_limits(Limits {
        output_hard: 1 << 20,
        ..Limits::default()
    });
    let mut client = gateway.connect();
    let value = vec![b'v'; 2 << 20];
    assert_eq!(client.ask_words(&[b"SET", b"key", &value]), "+OK\r\n");
    client.send(&command(&[b"GET", b"key"]));
    assert_eq!(client.rest(), "");
    assert_eq!(gateway.connect().ask("STRLEN key"), ":2097152\r\n");
}

#[test]
fn commands_in_flight_are_bounded() {
    let gateway = Gateway::with_limits(Limits {
        max_in_flight: 10,
        ..Limits::default()
    });
    gateway.tell(|memory| memory.holding.set(true));
    let mut client = gateway.connect();
    client.send(&command(&[b"INCR", b"n"]).repeat(25));
    while gateway.tell(|memory| memory.started.get()) < 10 {}
    // Another client's command comes after whatever the first one's buffer would have started.
    assert_eq!(gateway.connect().ask("PING"), "+PONG\r\n");
    assert_eq!(gateway.tell(|memory| memory.started.get()), 10);
    gateway.tell(|memory| {
        memory.holding.set(false);
        memory.release();
    });
    for n in 1..=25 {
        assert_eq!(client.reply(), format!(":{n}\r\n"));
    }
}

#[test]
fn who_is_refused_gets_to_know_why_even_while_still_sending() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let mut bytes = b"*1\r\n$1152921504606846976\r\n".to_vec();
    bytes.resize(500_000, b'x');
    client.send(&bytes);
    assert_eq!(
        client.reply(),
        "-ERR Protocol error: invalid bulk length\r\n"
    );
}

#[test]
fn who_says_nothing_is_closed_after_the_idle_timeout() {
    let gateway = Gateway::with_limits(Limits {
        idle_timeout: Some(Duration::from_millis(50)),
        ..Limits::default()
    });
    assert_eq!(gateway.connect().rest(), "");
}

#[test]
fn a_long_pipeline_does_not_take_the_others_turn() {
    let gateway = Gateway::start();
    let mut greedy = gateway.connect();
    let mut socket = greedy.socket.try_clone().unwrap();
    let count = 50_000;
    let sender = std::thread::spawn(move || {
        socket
            .write_all(&command(&[b"INCR", b"n"]).repeat(count))
            .unwrap();
    });
    assert_eq!(greedy.reply(), ":1\r\n");
    let mut other = gateway.connect();
    let seen = other.ask("GET n");
    let seen: usize = seen.split("\r\n").nth(1).unwrap().parse().unwrap();
    assert!(seen < count, "the other was served last");
    for n in 2..=count {
        assert_eq!(greedy.reply(), format!(":{n}\r\n"));
    }
    sender.join().unwrap();
}
