//! Leases between nodes (R1 to R5).

use crate::bench::{A, B, PARTITION, ms};
use replication::{Beacon, BeaconReply, Exception, LeaseSettings, Leases, Settled};
use std::time::Duration;
use types::{Ballot, Incarnation, Instant, NodeId, PartitionId};

const ONE: Incarnation = Incarnation(1);
const TWO: Incarnation = Incarnation(2);

fn node(life: Incarnation) -> Leases {
    Leases::new(LeaseSettings::default(), life, ms(0), Duration::ZERO)
}

fn exception(ballot: u64) -> Exception {
    Exception {
        partition: PARTITION,
        ballot: Ballot(ballot),
    }
}

/// `holder` (node A) asks `grantor` (node B) at `sent`; the beacon arrives at `received`.
fn exchange(
    holder: &mut Leases,
    grantor: &mut Leases,
    sent: Instant,
    received: Instant,
) -> BeaconReply {
    let beacon = holder.make_beacon(B, sent);
    grantor.on_beacon(A, received, &beacon).reply
}

fn counts(holder: &Leases, ballot: u64, now: Instant) -> bool {
    holder.counts(B, ONE, PARTITION, Ballot(ballot), now)
}

#[test]
fn a_holder_counts_from_sending_and_a_grantor_from_receipt() {
    let (mut a, mut b) = (node(ONE), node(ONE));
    let reply = exchange(&mut a, &mut b, ms(0), ms(90));
    a.on_reply(B, ms(180), &reply);
    assert!(counts(&a, 1, ms(499)));
    assert!(!counts(&a, 1, ms(500)));
    b.except(A, PARTITION, Ballot(2), ms(100));
    assert_eq!(
        b.settled(A, PARTITION, Ballot(2), ms(100)),
        Settled::At(ms(740))
    );
    assert_eq!(b.settled(A, PARTITION, Ballot(2), ms(740)), Settled::Yes);
}

#[test]
fn an_exception_holds_for_ever_below_its_ballot_whatever_arrives_later() {
    let (mut a, mut b) = (node(ONE), node(ONE));
    let early = exchange(&mut a, &mut b, ms(0), ms(1));
    b.except(A, PARTITION, Ballot(3), ms(2));
    let late = exchange(&mut a, &mut b, ms(10), ms(11));
    assert_eq!(late.exceptions, [exception(3)]);
    assert!(a.on_reply(B, ms(12), &late).answer_now);
    a.on_reply(B, ms(13), &early);
    assert!(!counts(&a, 2, ms(14)));
    assert!(counts(&a, 3, ms(14)));
    let other = PartitionId::new(1, 1);
    assert!(a.counts(B, ONE, other, Ballot(1), ms(14)));
}

#[test]
fn exceptions_are_repeated_until_acknowledged_and_that_settles_them() {
    let (mut a, mut b) = (node(ONE), node(ONE));
    exchange(&mut a, &mut b, ms(0), ms(0));
    b.except(A, PARTITION, Ballot(3), ms(2));
    assert_eq!(
        b.settled(A, PARTITION, Ballot(4), ms(2)),
        Settled::NotExcepted
    );
    let notice = b
        .notice(A)
        .map(|notice| (notice.granted, notice.exceptions));
    assert_eq!(notice, Some((None, vec![exception(3)])));
    let reply = exchange(&mut a, &mut b, ms(3), ms(3));
    assert_eq!(reply.exceptions, [exception(3)]);
    a.on_reply(B, ms(4), &reply);
    let beacon = a.make_beacon(B, ms(4));
    assert_eq!(beacon.acknowledged, [exception(3)]);
    let answer = b.on_beacon(A, ms(5), &beacon);
    assert_eq!(
        (answer.settled, answer.reply.exceptions),
        (vec![PARTITION], vec![])
    );
    assert_eq!(b.settled(A, PARTITION, Ballot(3), ms(5)), Settled::Yes);
    assert_eq!(b.notice(A), None);
}

#[test]
fn exceptions_made_before_a_holders_new_life_is_heard_of_are_repeated_to_it() {
    let (mut a, mut b) = (node(ONE), node(ONE));
    exchange(&mut a, &mut b, ms(0), ms(0));
    // The new life was vouched for by a truncate before its first beacon, then came a higher ballot.
    let mut a_again = node(TWO);
    b.except(A, PARTITION, Ballot(3), ms(2));
    let reply = exchange(&mut a_again, &mut b, ms(3), ms(3));
    assert_eq!(
        (reply.granted, &reply.exceptions[..]),
        (Some(ms(3)), &[exception(3)][..])
    );
}

#[test]
fn nothing_is_granted_while_a_reply_cannot_carry_all_exceptions() {
    let settings = LeaseSettings {
        exceptions: 2,
        ..LeaseSettings::default()
    };
    let (mut a, mut b) = (node(ONE), Leases::new(settings, ONE, ms(0), Duration::ZERO));
    for index in 0..3 {
        b.except(A, PartitionId::new(1, index), Ballot(2), ms(0));
    }
    let reply = exchange(&mut a, &mut b, ms(1), ms(1));
    assert_eq!((reply.granted, reply.exceptions.len()), (None, 2));
    a.on_reply(B, ms(1), &reply);
    let reply = exchange(&mut a, &mut b, ms(2), ms(2));
    assert_eq!((reply.granted, reply.exceptions.len()), (Some(ms(2)), 1));
}

#[test]
fn a_lease_belongs_to_one_life_of_the_grantor_and_a_reply_to_one_of_the_holder() {
    let (mut a, mut b) = (node(ONE), node(ONE));
    let reply = exchange(&mut a, &mut b, ms(0), ms(0));
    let mut a_again = node(TWO);
    a_again.on_reply(B, ms(1), &reply);
    assert!(!counts(&a_again, 1, ms(1)));
    a.on_reply(B, ms(1), &reply);
    let mut b_again = node(TWO);
    let reply_of_two = exchange(&mut a, &mut b_again, ms(2), ms(2));
    assert_eq!(a.on_reply(B, ms(2), &reply_of_two).restarted, Some(TWO));
    assert!(!counts(&a, 1, ms(3)));
    assert!(a.counts(B, TWO, PARTITION, Ballot(1), ms(3)));
    // A straggler of the first life changes nothing.
    a.on_reply(B, ms(4), &reply);
    assert!(!counts(&a, 1, ms(4)));
}

#[test]
fn a_reply_from_the_future_is_no_grant() {
    let mut a = node(ONE);
    let reply = BeaconReply {
        holder: ONE,
        grantor: ONE,
        granted: Some(ms(1000)),
        exceptions: vec![],
    };
    a.on_reply(B, ms(1), &reply);
    assert!(!a.holds(B, ms(1)));
}

#[test]
fn a_restarted_node_answers_for_what_it_may_have_granted() {
    let again = Leases::new(
        LeaseSettings::default(),
        TWO,
        ms(0),
        Duration::from_millis(900),
    );
    assert_eq!(again.forgotten_until(), ms(900));
}

#[test]
fn a_silent_peer_is_reported_once_until_it_is_heard_again() {
    let mut a = node(ONE);
    a.watch(B, ms(0));
    assert_eq!(a.lapsed(ms(649)), []);
    assert_eq!(a.lapsed(ms(650)), [B]);
    assert_eq!(a.lapsed(ms(700)), []);
    let beacon = Beacon {
        incarnation: ONE,
        sent: ms(0),
        acknowledged: vec![],
    };
    assert_eq!(a.on_beacon(B, ms(800), &beacon).restarted, None);
    assert!(a.heard_since(B, ms(799)));
    assert_eq!(a.lapsed(ms(1449)), []);
    assert_eq!(a.lapsed(ms(1450)), [B]);
    a.unwatch(B);
    let beacon = Beacon {
        incarnation: TWO,
        ..beacon
    };
    assert_eq!(a.on_beacon(B, ms(1500), &beacon).restarted, Some(TWO));
    assert_eq!(a.lapsed(ms(9000)), [] as [NodeId; 0]);
}

#[test]
fn a_lapsed_lease_is_reported_before_the_silence_is() {
    let (mut a, mut b) = (node(ONE), node(ONE));
    a.watch(B, ms(0));
    let reply = exchange(&mut a, &mut b, ms(0), ms(0));
    a.on_reply(B, ms(1), &reply);
    assert_eq!(a.lapsed(ms(499)), []);
    assert_eq!(a.lapsed(ms(500)), [B]);
    // Heard, but not granted anything: that is no news.
    let refusal = BeaconReply {
        granted: None,
        ..reply
    };
    a.on_reply(B, ms(501), &refusal);
    assert_eq!(a.lapsed(ms(510)), []);
}
