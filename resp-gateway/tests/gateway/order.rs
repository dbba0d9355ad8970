//! Replies come in the order of the commands, whatever the backend does, and however the bytes were cut.

use crate::harness::{Gateway, command, key_of_each_partition};
use crate::memory::Memory;
use std::io::Write;

#[test]
fn replies_keep_the_order_of_commands_when_the_backend_answers_backwards() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    for encoding in [false, true] {
        gateway.tell(move |memory| {
            memory.holding.set(true);
            memory.encoding.set(encoding);
            memory.started.set(0);
        });
        let mut bytes = Vec::new();
        for n in 0..20 {
            let key = format!("key{n}");
            bytes.extend(command(&[b"SET", key.as_bytes(), key.as_bytes()]));
            bytes.extend(command(&[b"GET", key.as_bytes()]));
            bytes.extend(command(&[b"PING", key.as_bytes()]));
        }
        client.send(&bytes);
        while gateway.tell(|memory| memory.started.get()) < 40 {}
        gateway.tell(|memory| {
            memory.holding.set(false);
            memory.release();
        });
        for n in 0..20 {
            let text = format!("key{n}");
            let bulk = format!("${}\r\n{text}\r\n", text.len());
            assert_eq!(client.reply(), "+OK\r\n");
            assert_eq!(client.reply(), bulk);
            assert_eq!(client.reply(), bulk);
        }
    }
}

#[test]
fn commands_arrive_whole_however_the_network_cuts_them() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let mut bytes = command(&[b"SET", b"key", b"a\r\nb"]);
    bytes.extend(command(&[b"GET", b"key"]));
    bytes.extend(b"PING \"in line\"\r\n");
    for byte in &bytes {
        client.send(&[*byte]);
    }
    assert_eq!(client.reply(), "+OK\r\n");
    assert_eq!(client.reply(), "$4\r\na\r\nb\r\n");
    assert_eq!(client.reply(), "$7\r\nin line\r\n");
}

#[test]
fn a_hundred_thousand_commands_sent_before_any_reply_is_read_are_all_answered() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let mut socket = client.socket.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let bytes: Vec<u8> = (0..100_000)
            .flat_map(|n: u32| command(&[b"SET", format!("k{}", n % 100).as_bytes(), b"v"]))
            .collect();
        socket.write_all(&bytes).unwrap();
    });
    for _ in 0..100_000 {
        assert_eq!(client.reply_bytes(), b"+OK\r\n");
    }
    sender.join().unwrap();
}

#[test]
fn ten_megabytes_come_back_as_they_went() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let value: Vec<u8> = (0..10_000_000u32)
        .map(|n| (n.wrapping_mul(31) >> 3) as u8)
        .collect();
    assert_eq!(client.ask_words(&[b"SET", b"large", &value]), "+OK\r\n");
    client.send(&command(&[b"GET", b"large"]));
    let reply = client.reply_bytes();
    assert!(reply.starts_with(b"$10000000\r\n"));
    assert!(reply[11..reply.len() - 2] == value[..]);
}

#[test]
fn a_command_in_line_of_a_session_change_waits_for_the_replies_before_it() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    gateway.tell(|memory| memory.holding.set(true));
    let mut bytes = command(&[b"GET", b"nothing"]);
    bytes.extend(command(&[b"HELLO", b"3"]));
    bytes.extend(command(&[b"GET", b"nothing"]));
    client.send(&bytes);
    while gateway.tell(|memory| memory.started.get()) < 1 {}
    gateway.tell(|memory| {
        memory.holding.set(false);
        memory.release();
    });
    assert_eq!(client.reply(), "$-1\r\n");
    assert!(client.reply().starts_with("%7\r\n"));
    assert_eq!(client.reply(), "_\r\n");
}

#[test]
fn a_client_that_waits_does_not_keep_others_waiting() {
    let gateway = Gateway::start();
    let mut slow = gateway.connect();
    gateway.tell(|memory| memory.holding.set(true));
    slow.send(&command(&[b"GET", b"key"]));
    while gateway.tell(|memory| memory.started.get()) < 1 {}
    gateway.tell(|memory| memory.holding.set(false));
    let mut quick = gateway.connect();
    for key in key_of_each_partition() {
        assert_eq!(quick.ask(&format!("SET {key} v")), "+OK\r\n");
    }
    gateway.tell(Memory::release);
    assert_eq!(slow.reply(), "$-1\r\n");
}

#[test]
fn a_command_that_the_backend_drops_is_answered_with_an_error() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    gateway.tell(|memory| memory.holding.set(true));
    client.send(&command(&[b"GET", b"key"]));
    while gateway.tell(|memory| memory.started.get()) < 1 {}
    gateway.tell(|memory| memory.held.borrow_mut().clear());
    assert_eq!(
        client.reply(),
        "-ERR the server gave this command up; its outcome is unknown\r\n"
    );
}

#[test]
fn what_was_started_is_answered_before_a_stopping_gateway_closes() {
    let mut gateway = Gateway::start();
    let mut client = gateway.connect();
    assert_eq!(client.ask("SET key value"), "+OK\r\n");
    gateway.tell(|memory| memory.holding.set(true));
    client.send(&command(&[b"GET", b"key"]));
    while gateway.tell(|memory| memory.started.get()) < 2 {}
    gateway.tell(Memory::release);
    gateway.stop();
    assert_eq!(client.rest(), "$5\r\nvalue\r\n");
}
