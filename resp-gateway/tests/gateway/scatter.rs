//! Commands over several partitions, and walks over all of them.

use crate::harness::{Gateway, command, key_of_each_partition};
use std::collections::BTreeSet;

fn bulks(texts: &[&str]) -> String {
    let bulk = |text: &&str| format!("${}\r\n{text}\r\n", text.len());
    texts.iter().map(bulk).collect::<Vec<_>>().concat()
}

#[test]
fn keys_of_several_partitions_are_gathered_in_the_order_asked_for() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let keys = key_of_each_partition();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for encoding in [false, true] {
        gateway.tell(move |memory| memory.encoding.set(encoding));
        let pairs: Vec<String> = keys.iter().map(|key| format!("{key} v{key}")).collect();
        assert_eq!(client.ask(&format!("MSET {}", pairs.join(" "))), "+OK\r\n");
        assert_eq!(
            client.ask(&format!("MGET {} nothing {}", keys[7], keys[0])),
            format!(
                "*3\r\n{}$-1\r\n{}",
                bulks(&[&format!("v{}", keys[7])]),
                bulks(&[&format!("v{}", keys[0])])
            )
        );
        assert_eq!(client.ask("DBSIZE"), ":8\r\n");
        let all = keys.join(" ");
        assert_eq!(client.ask(&format!("EXISTS {all} {}", keys[3])), ":9\r\n");
        assert_eq!(client.ask(&format!("TOUCH {all} nothing")), ":8\r\n");
        assert!(client.ask("RANDOMKEY").starts_with('$'));
        assert!(client.ask("KEYS k*").starts_with("*8\r\n"));
        assert_eq!(
            client.ask(&format!("DEL {} {}", keys[0], keys[1])),
            ":2\r\n"
        );
        assert_eq!(client.ask(&format!("UNLINK {all}")), ":6\r\n");
        assert_eq!(client.ask("RANDOMKEY"), "$-1\r\n");
        assert_eq!(client.ask(&format!("SET {} v", keys[5])), "+OK\r\n");
        assert_eq!(client.ask("FLUSHALL"), "+OK\r\n");
        assert_eq!(client.ask("DBSIZE"), ":0\r\n");
    }
}

#[test]
fn a_partition_that_fails_is_named_and_so_is_what_became_of_the_others() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let keys = key_of_each_partition();
    let fail = |errors: &'static [(u32, &str)]| {
        gateway.tell(|memory| *memory.failing.borrow_mut() = errors.to_vec());
    };
    fail(&[(3, "TRYAGAIN no leases; nothing took effect")]);
    assert_eq!(
        client.ask(&format!("MSET {} 1 {} 2 {} 3", keys[2], keys[3], keys[4])),
        "-ERR failed on 1 of 3 partitions; it has taken effect on the others; partition 3: TRYAGAIN no leases; nothing took effect\r\n",
        "who tries again by himself would do the done part again"
    );
    assert_eq!(
        client.ask(&format!("MGET {} {}", keys[2], keys[3])),
        "-TRYAGAIN failed on 1 of 2 partitions; partition 3: no leases; nothing took effect\r\n"
    );
    assert_eq!(
        client.ask(&format!("GET {}", keys[3])),
        "-TRYAGAIN no leases; nothing took effect\r\n"
    );
    assert_eq!(client.ask(&format!("GET {}", keys[4])), "$1\r\n3\r\n");

    fail(&[
        (3, "TRYAGAIN no leases; nothing took effect"),
        (4, "ERR the outcome is unknown: its primary died"),
    ]);
    assert_eq!(
        client.ask(&format!("MSET {} 1 {} 2", keys[3], keys[4])),
        "-ERR failed on 2 of 2 partitions; it may have taken effect on 1 of them; partition 4: the outcome is unknown: its primary died\r\n"
    );
    assert_eq!(
        client.ask(&format!("DEL {} {} {}", keys[2], keys[3], keys[4])),
        "-ERR failed on 2 of 3 partitions; it may have taken effect on 1 of them; it has taken effect on the others; partition 4: the outcome is unknown: its primary died\r\n"
    );

    fail(&[
        (3, "TRYAGAIN no leases; nothing took effect"),
        (4, "NOREPLICAS 1 of 2"),
    ]);
    assert_eq!(
        client.ask(&format!("MSET {} 1 {} 2", keys[3], keys[4])),
        "-TRYAGAIN failed on 2 of 2 partitions; partition 3: no leases; nothing took effect\r\n"
    );
}

#[test]
fn commands_that_must_be_atomic_refuse_keys_of_several_slots() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    for line in ["RENAME a b", "COPY a b", "MSETNX a 1 b 2"] {
        assert_eq!(
            client.ask(line),
            "-CROSSSLOT Keys in request don't hash to the same slot\r\n"
        );
    }
    assert_eq!(client.ask("MSETNX {t}a 1 {t}b 2"), ":1\r\n");
    assert_eq!(client.ask("RENAME {t}a {t}c"), "+OK\r\n");
}

#[test]
fn a_missing_value_is_refused_as_a_whole() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    assert_eq!(
        client.ask("MSET a 1 b"),
        "-ERR wrong number of arguments for 'mset' command\r\n"
    );
    assert_eq!(client.ask("EXISTS a b"), ":0\r\n");
}

/// All that a scan tells, page by page.
fn walk(gateway: &Gateway, first: &str, cursor_at: usize) -> Vec<String> {
    let mut client = gateway.connect();
    let mut words: Vec<String> = first.split(' ').map(str::to_owned).collect();
    let mut found = Vec::new();
    loop {
        let parts: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        client.send(&command(&parts));
        let reply = client.reply();
        let mut lines = reply
            .split("\r\n")
            .filter(|line| !line.starts_with(['*', '$']));
        let cursor = lines.next().unwrap().to_owned();
        found.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
        if cursor == "0" {
            return found;
        }
        words[cursor_at] = cursor;
    }
}

#[test]
fn a_scan_visits_every_key_of_every_partition_once_when_nothing_changes() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let keys: BTreeSet<String> = (0..500).map(|n| format!("key:{n}")).collect();
    for key in &keys {
        client.ask(&format!("SET {key} v"));
    }
    for first in ["SCAN 0 COUNT 7", "SCAN 0 MATCH key:* COUNT 1000"] {
        let found = walk(&gateway, first, 1);
        assert_eq!(found.len(), keys.len(), "{first}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), keys);
    }
    assert_eq!(
        walk(&gateway, "SCAN 0 MATCH key:77 COUNT 50", 1),
        ["key:77"]
    );
}

#[test]
fn a_hash_scan_visits_every_field() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    for n in 0..100 {
        client.ask(&format!("HSET hash f{n} v{n}"));
    }
    let found: BTreeSet<String> = walk(&gateway, "HSCAN hash 0 COUNT 9", 2)
        .into_iter()
        .collect();
    assert_eq!(found.len(), 200);
}

#[test]
fn a_cursor_that_nobody_knows_restarts_its_slot() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    client.ask("SET foo v");
    // Slot 12182 with a token that was never given.
    let cursor = 77 * 16_384 + 12_182;
    let reply = client.ask(&format!("SCAN {cursor} COUNT 1000"));
    assert!(reply.contains("foo"), "{reply}");
    assert_eq!(client.ask("SCAN banana"), "-ERR invalid cursor\r\n");
    assert_eq!(client.ask("SCAN 0 COUNT 0"), "-ERR syntax error\r\n");
}
