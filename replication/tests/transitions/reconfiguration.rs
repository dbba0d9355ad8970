//! Changes of configuration: losing a secondary, takeover, reconciliation, hand-over, deletion.

use crate::bench::*;
use replication::{
    Action, Afterwards, Deletion, Event, Exception, Message, MetaStream, Refusal, RoleKind,
    Settings,
};
use std::sync::Arc;
use types::{Ballot, Decree, Durability, Incarnation, RecordBody};

#[test]
fn a_primary_proposes_the_removal_of_a_lost_secondary_and_obeys_both_configurations_until_it_knows()
{
    let two = config(2, A, &[C]);
    let mut a = Bench::serving(A, &[B, C]);
    a.on(submit(1));
    a.flushed(2);
    a.from(C, prepare_ack(1, 1, 0));
    assert_eq!(a.on(Event::PeerLost { node: B }), [propose(1, &two)]);
    // C1: the old ballot still stored settles nothing, and another loss changes nothing about the proposal.
    assert_eq!(a.on(Event::ConfigurationKnown(config(1, A, &[B, C]))), []);
    assert_eq!(a.on(Event::PeerLost { node: C }), []);
    assert_eq!(a.at(500).tick()[0], propose(1, &two));
    assert_eq!(a.replica.committed(), Decree(0));
    assert_eq!(
        a.on(Event::ConfigurationKnown(two.clone())),
        [
            append_config(3, &two),
            Action::Became(RoleKind::Reconciling)
        ]
    );
    // C3: prepared again under the new ballot; the acknowledgement of the old one no longer counts.
    assert_eq!(
        a.flushed(3),
        [
            send(C, truncate(&two, 1, 1)),
            append_mutation(4, 2, 1),
            send(C, prepare(2, 1, 0)),
            propose(2, &config(3, A, &[])),
            Action::Became(RoleKind::Serving),
        ]
    );
}

#[test]
fn a_secondary_that_is_well_is_let_go_when_the_meta_leader_wants_one_less_of_this_very_configuration()
 {
    let mut a = Bench::serving(A, &[B, C]);
    let go = |ballot, node| Event::RemoveSecondary {
        ballot: Ballot(ballot),
        node,
    };
    assert_eq!(a.on(go(2, B)), [], "of another configuration");
    assert_eq!(a.on(go(1, A)), [], "it does not remove itself");
    assert_eq!(a.on(go(1, D)), [], "no member");
    let two = config(2, A, &[C]);
    assert_eq!(a.on(go(1, B)), [propose(1, &two)]);
    // C1: until it knows, both count; one proposal is made for a ballot.
    assert_eq!(a.on(go(1, C)), []);
}

#[test]
fn only_a_primary_that_serves_lets_a_secondary_go() {
    let mut b = Bench::secondary(B, &config(1, A, &[B, C]), 0);
    let go = Event::RemoveSecondary {
        ballot: Ballot(1),
        node: C,
    };
    assert_eq!(b.on(go), []);
}

#[test]
fn a_changed_number_of_members_that_writes_need_counts_at_once() {
    let mut a = Bench::serving(A, &[B, C]);
    assert_eq!(a.replica.accepts_write(), Ok(Decree(1)));
    let settings = Settings {
        min_replicas: 4,
        ..Settings::default()
    };
    a.on(Event::SettingsChanged(Arc::new(settings)));
    let too_few = Refusal::TooFewMembers {
        members: 3,
        needed: 4,
    };
    assert_eq!(a.replica.accepts_write(), Err(too_few));
}

#[test]
fn reads_need_the_lease_of_every_member_in_the_life_in_which_it_vouched() {
    let mut a = Bench::serving(A, &[B, C]);
    assert!(a.at(499).may_read());
    assert!(!a.at(500).may_read());
    a.lease(B, 1);
    a.lease(C, 2);
    assert!(!a.may_read());
    a.from(
        C,
        Message::TruncateAck {
            ballot: Ballot(1),
            signature: ORIGINAL,
            incarnation: Incarnation(2),
        },
    );
    assert!(a.may_read());
    // R2: an exception takes this partition out of whatever lease there is.
    let exceptions = vec![Exception {
        partition: PARTITION,
        ballot: Ballot(2),
    }];
    let reply = replication::BeaconReply {
        holder: Incarnation(1),
        grantor: Incarnation(1),
        granted: None,
        exceptions,
    };
    a.leases.on_reply(B, ms(501), &reply);
    a.lease(B, 1);
    assert!(!a.may_read());
}

#[test]
fn what_was_evaluated_stays_good_for_as_long_as_nobody_else_can_have_led() {
    let mut a = Bench::serving(A, &[B, C]);
    assert_eq!(a.replica.leads_since(), Some(Ballot(1)));
    let mut known = |configuration| {
        a.on(Event::ConfigurationKnown(configuration));
        a.replica.leads_since()
    };
    assert_eq!(known(config(2, A, &[C])), Some(Ballot(1)));
    assert_eq!(known(config(3, A, &[])), Some(Ballot(1)));
    // Of the one between it knows nothing.
    assert_eq!(known(config(5, A, &[C])), Some(Ballot(5)));
    assert_eq!(known(config(6, C, &[A])), None);
    assert_eq!(known(config(7, A, &[C])), Some(Ballot(7)));
}

#[test]
fn a_member_whose_removal_is_under_way_still_gates_commits_and_reads() {
    let mut a = Bench::serving(A, &[B]);
    a.on(Event::PeerLost { node: B });
    assert!(!a.may_read());
    a.on(submit(1));
    assert_eq!(a.flushed(2), []);
}

#[test]
fn the_first_secondary_proposes_itself_at_once_and_the_next_a_little_later() {
    let one = config(1, A, &[B, C]);
    let mut b = Bench::secondary(B, &one, 0);
    assert_eq!(
        b.at(40).on(Event::PeerLost { node: A }),
        [propose(1, &config(2, B, &[C]))]
    );
    let mut c = Bench::secondary(C, &one, 0);
    assert_eq!(c.at(40).on(Event::PeerLost { node: A }), []);
    assert_eq!(c.deadline(), Some(140));
    assert_eq!(c.at(140).tick(), [propose(1, &config(2, C, &[B]))]);
}

#[test]
fn a_sign_of_life_calls_a_takeover_off_but_not_after_the_primary_itself_resigned() {
    let one = config(1, A, &[B, C]);
    let mut c = Bench::secondary(C, &one, 0);
    c.at(40).on(Event::PeerLost { node: A });
    c.at(100).granted(A);
    assert_eq!(c.at(140).tick(), []);
    assert_eq!(c.deadline(), None);
    assert_eq!(c.from(A, Message::Resign { ballot: Ballot(1) }), []);
    c.at(200).granted(A);
    assert_eq!(c.at(240).tick(), [propose(1, &config(2, C, &[B]))]);
}

#[test]
fn a_new_primary_commits_nothing_before_the_grace_it_granted_has_run_out() {
    let two = config(2, B, &[C]);
    let mut b = Bench::secondary(B, &config(1, A, &[B, C]), 1);
    b.at(40).on(Event::PeerLost { node: A });
    assert_eq!(
        b.at(45).on(Event::ConfigurationKnown(two.clone())),
        [
            except(A, 2),
            append_config(3, &two),
            Action::Became(RoleKind::Reconciling)
        ]
    );
    assert_eq!(
        b.at(46).flushed(3),
        [
            send(C, truncate(&two, 1, 1)),
            append_mutation(4, 2, 1),
            send(C, prepare(2, 1, 0))
        ]
    );
    assert_eq!(b.at(50).from(C, truncate_ack(2)), []);
    assert_eq!(b.from(C, prepare_ack(2, 1, 0)), []);
    assert_eq!(b.flushed(4), []);
    // Ready, but a may still read.
    assert_eq!(b.at(649).tick(), []);
    assert_eq!(b.deadline(), Some(650));
    assert_eq!(
        b.at(650).tick(),
        [commit(1), Action::Became(RoleKind::Serving)]
    );
}

#[test]
fn an_acknowledged_exception_ends_the_waiting() {
    let two = config(2, B, &[]);
    let mut b = Bench::secondary(B, &config(1, A, &[B]), 1);
    b.at(40).on(Event::PeerLost { node: A });
    b.on(Event::ConfigurationKnown(two));
    b.flushed(3);
    assert_eq!(b.flushed(4), []);
    let acknowledged = vec![Exception {
        partition: PARTITION,
        ballot: Ballot(2),
    }];
    let beacon = replication::Beacon {
        incarnation: Incarnation(1),
        sent: ms(40),
        acknowledged,
    };
    let answer = b.leases.on_beacon(A, ms(41), &beacon);
    assert_eq!(answer.settled, [PARTITION]);
    assert_eq!(
        b.at(41).on(Event::ExceptionAcknowledged),
        [commit(1), Action::Became(RoleKind::Serving)]
    );
}

#[test]
fn a_new_primary_serves_nothing_before_everyone_has_cut_and_the_list_is_committed() {
    let two = config(2, B, &[A, C]);
    let mut b = Bench::secondary(B, &config(1, A, &[B, C]), 2);
    b.on(Event::ConfigurationKnown(two));
    b.flushed(4);
    b.flushed(5);
    b.flushed(6);
    // The old primary stays, and having cut under this ballot it serves nothing below it: nothing to wait for (R5).
    assert_eq!(b.from(A, truncate_ack(2)), []);
    assert_eq!(b.from(A, prepare_ack(2, 2, 0)), []);
    assert_eq!(b.from(C, prepare_ack(2, 1, 0)), [commit(1)]);
    assert_eq!(b.from(C, prepare_ack(2, 2, 0)), [commit(2)]);
    assert_eq!(
        b.from(C, truncate_ack(2)),
        [Action::Became(RoleKind::Serving)]
    );
}

#[test]
fn a_member_cuts_what_the_new_primary_does_not_have_and_keeps_what_it_has() {
    let two = config(2, C, &[B]);
    let mut b = Bench::secondary(B, &config(1, A, &[B, C]), 3);
    assert_eq!(
        b.from(C, truncate(&two, 1, 2)),
        [
            except(A, 2),
            append_config(5, &two),
            append(
                6,
                RecordBody::Truncate {
                    ballot: Ballot(2),
                    decree: Decree(2)
                }
            ),
            Action::Unstage { above: Decree(2) },
        ]
    );
    assert_eq!(b.flushed(5), []);
    assert_eq!(b.flushed(6), [send(C, truncate_ack(2))]);
    // What it has is appended again under the new ballot, and is staged already.
    assert_eq!(b.from(C, prepare(2, 1, 0)), [append_mutation(7, 2, 1)]);
    assert_eq!(b.from(C, prepare(2, 2, 0)), [append_mutation(8, 2, 2)]);
    assert_eq!(
        b.from(C, prepare(2, 3, 0)),
        [append_mutation(9, 2, 3), stage(2, 3)]
    );
    // The same truncate, late: records of its own ballot are not below it.
    assert_eq!(b.from(C, truncate(&two, 1, 2)), []);
    b.flushed(7);
    b.flushed(8);
    assert_eq!(
        b.flushed(9),
        [send(C, prepare_ack(2, 3, 0)), send(C, truncate_ack(2))]
    );
}

#[test]
fn a_leftover_of_a_lower_ballot_is_not_committed_by_a_higher_ones_word() {
    let two = config(2, C, &[B]);
    let mut b = Bench::secondary(B, &config(1, A, &[B, C]), 3);
    b.from(C, truncate(&two, 2, 3));
    assert_eq!(b.from(C, committed(2, 3))[0], commit(1));
    assert_eq!(b.replica.committed(), Decree(1));
}

#[test]
fn lag_removes_a_secondary_only_while_enough_members_are_left() {
    let mut a = Bench::serving(A, &[B, C]);
    a.on(submit(1));
    a.flushed(2);
    a.from(C, prepare_ack(1, 1, 0));
    assert_eq!(
        a.at(3000).tick().last(),
        Some(&propose(1, &config(2, A, &[C])))
    );
    let mut a = Bench::serving(A, &[B]);
    a.on(submit(1));
    a.flushed(2);
    a.at(3000).lease(B, 1);
    assert_eq!(a.at(3000).tick(), [send(B, prepare(1, 1, 0))]);
}

#[test]
fn a_member_whose_disk_disowns_it_is_removed() {
    let mut d = Bench::blank(D, Durability::Sync);
    let one = config(1, A, &[D]);
    let no = Message::NotMember { ballot: Ballot(1) };
    assert_eq!(d.from(A, truncate(&one, 1, 0)), [send(A, no.clone())]);
    assert_eq!(truncate(&one, 1, 0).answer_of_nobody(), Some(no.clone()));
    let mut a = Bench::serving(A, &[D]);
    assert_eq!(a.from(D, no), [propose(1, &config(2, A, &[]))]);
}

#[test]
fn a_hand_over_is_a_hint_on_which_the_successor_proposes_itself() {
    let one = config(1, A, &[B, C]);
    let mut a = Bench::serving(A, &[B, C]);
    let hint = |then| Message::TakeOver {
        ballot: Ballot(1),
        then,
    };
    let hand_over = Event::HandOver {
        to: C,
        then: Afterwards::Stay,
    };
    assert_eq!(a.on(hand_over), [send(C, hint(Afterwards::Stay))]);
    assert!(a.may_read());
    let mut c = Bench::secondary(C, &one, 0);
    assert_eq!(
        c.from(A, hint(Afterwards::Stay)),
        [propose(1, &config(2, C, &[B, A]))]
    );
    let mut c = Bench::secondary(C, &one, 0);
    assert_eq!(
        c.from(A, hint(Afterwards::Leave)),
        [propose(1, &config(2, C, &[B]))]
    );
}

#[test]
fn a_deposed_primary_tells_its_followers_why_it_stops() {
    let two = config(2, B, &[C]);
    let mut a = Bench::serving(A, &[B, C]);
    let stale = Message::Stale {
        configuration: two.clone(),
    };
    assert_eq!(
        a.on(Event::ConfigurationKnown(two.clone())),
        [
            append_config(2, &two),
            send(B, stale.clone()),
            send(C, stale),
            Action::Became(RoleKind::Inactive),
        ]
    );
}

#[test]
fn a_secondary_without_a_stream_asks_for_one_and_learns_what_it_missed() {
    let one = config(1, A, &[B]);
    let join = Message::Join { ballot: Ballot(1) };
    let mut b = Bench::created(B);
    b.on(Event::ConfigurationKnown(one.clone()));
    assert_eq!(b.tick(), [send(A, join.clone())]);
    assert_eq!(b.deadline(), Some(200));
    let mut a = Bench::serving(A, &[B]);
    assert_eq!(a.from(B, join.clone()), [send(B, truncate(&one, 1, 0))]);
    let two = config(2, B, &[]);
    a.on(Event::ConfigurationKnown(two.clone()));
    assert_eq!(
        a.from(B, join),
        [send(B, Message::Stale { configuration: two })]
    );
}

#[test]
fn a_replica_is_deleted_only_under_a_configuration_that_excludes_it() {
    let mut b = Bench::secondary(B, &config(1, A, &[B, C]), 0);
    let delete = |configuration| Event::Delete(Deletion::Excluded(configuration));
    assert_eq!(b.on(delete(config(1, A, &[B, C]))), []);
    assert_eq!(b.on(delete(config(2, A, &[B]))), []);
    let three = config(3, A, &[C]);
    assert_eq!(
        b.on(delete(three.clone())),
        [
            except(A, 3),
            append_config(2, &three),
            append(3, RecordBody::Deleted),
            Action::Became(RoleKind::Inactive),
        ]
    );
    b.flushed(2);
    assert_eq!(b.flushed(3), [Action::Delete]);
    assert!(b.replica.is_blank());
    let mut b = Bench::secondary(B, &config(4, A, &[B]), 0);
    assert_eq!(b.on(Event::Delete(Deletion::Dropped(Ballot(3)))), []);
    assert_ne!(b.on(Event::Delete(Deletion::Dropped(Ballot(4)))), []);
}

#[test]
fn proposals_go_out_again_when_the_meta_leader_is_back() {
    let two = config(2, A, &[]);
    let mut a = Bench::serving(A, &[B]);
    a.on(Event::MetaStream(MetaStream::Down));
    a.on(Event::PeerLost { node: B });
    assert_eq!(
        a.at(10_000).on(Event::MetaStream(MetaStream::Up)),
        [propose(1, &two)]
    );
}

#[test]
fn a_denial_of_membership_is_never_answered_with_another() {
    let (mut b, _) = Bench::recovered(
        B,
        Durability::Sync,
        0,
        Bench::records(&config(2, A, &[C]), 0),
    );
    let no = Message::NotMember { ballot: Ballot(2) };
    assert_eq!(b.from(A, prepare(2, 1, 0)), [send(A, no.clone())]);
    assert_eq!(b.from(A, no.clone()), []);
    assert_eq!(b.from(A, Message::Resign { ballot: Ballot(2) }), []);
    // To a secondary it means that its primary will never serve.
    let mut b = Bench::secondary(B, &config(1, A, &[B]), 0);
    let no = Message::NotMember { ballot: Ballot(1) };
    assert_eq!(b.from(A, no), [propose(1, &config(2, B, &[]))]);
}

#[test]
fn a_vouch_is_for_one_ballot_and_a_staying_primary_needs_a_new_one() {
    let two = config(2, A, &[B]);
    let mut a = Bench::serving(A, &[B, C]);
    a.on(Event::ConfigurationKnown(two));
    a.flushed(2);
    assert!(a.replica.accepts_write().is_ok());
    // B may know of ballot 2 by others, and take over from there: its word of ballot 1 is worth nothing.
    assert!(!a.may_read());
    a.from(B, truncate_ack(2));
    assert!(a.may_read());
}

/// Of a silence one hears once, when it begins. Whoever becomes the primary, or gets another one, later must notice by itself.
#[test]
fn a_new_primary_removes_a_member_that_fell_silent_before_its_ballot() {
    let one = config(1, A, &[B, C]);
    let two = config(2, B, &[C]);
    let mut b = Bench::secondary(B, &one, 0);
    b.leases.watch(C, ms(0));
    b.at(700).on(Event::PeerLost { node: C });
    assert_eq!(
        b.at(701).on(Event::PeerLost { node: A }),
        [propose(1, &two)]
    );
    b.at(702).on(Event::ConfigurationKnown(two));
    b.flushed(2);
    assert_eq!(b.deadline(), Some(902));
    assert!(b.at(902).tick().contains(&propose(2, &config(3, B, &[]))));
}

#[test]
fn a_secondary_proposes_itself_to_a_new_primary_that_was_silent_before_its_ballot() {
    let one = config(1, A, &[B, C]);
    let mut c = Bench::secondary(C, &one, 0);
    let stored = config(2, A, &[C]);
    c.at(700).on(Event::PeerLost { node: A });
    // A removed B before it died: C's own proposal, under the old ballot, is refused.
    c.at(800).tick();
    c.at(801).on(Event::ConfigurationKnown(stored));
    c.flushed(2);
    assert!(c.tick().contains(&propose(2, &config(3, C, &[]))));
}
