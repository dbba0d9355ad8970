//! Partitions without a whole copy, and a store without anything: told first, done when the word for it comes back.

mod driver;

use driver::*;
use placement::{
    Action, Answered, Choice, Event, Finding, Loss, Rebuild, Refusal, ReplicaReport, Request,
    Rescue, Soundness, Table, ToNode,
};
use types::{Ballot, Configuration, Decree, Incarnation, LearnSignature, PartitionId, TableId};

fn rescue(
    cluster: &mut Driver,
    choice: Option<(Choice, &str)>,
) -> (Vec<Action>, Result<Rescue, Refusal>) {
    let request = Request::Rescue {
        table: "t".into(),
        index: 0,
        choice: choice.map(|(choice, word)| (choice, word.to_owned())),
    };
    let mut actions = cluster.ask(9, request);
    let at = actions
        .iter()
        .position(|action| matches!(action, Action::Answer { .. }))
        .expect("an answer");
    match actions.remove(at) {
        Action::Answer { answer, .. } => (
            actions,
            answer.map(|answered| match answered {
                Answered::Rescue(rescue) => rescue,
                other => panic!("{other:?}"),
            }),
        ),
        other => panic!("{other:?}"),
    }
}

fn copy(ballot: u64, prepared: u64, soundness: Soundness) -> ReplicaReport {
    ReplicaReport {
        prepared: Decree(prepared),
        soundness,
        ..replica(p(0), ballot)
    }
}

/// Node 1 leads alone at ballot 2, with 2 left out; 3 was never a member. Then 1 dies.
fn lost_after_leaving_two_out() -> Driver {
    let mut cluster = Driver::with_table(2, 1, 2);
    cluster.change(1, p(0), configuration(2, 1, &[]));
    cluster.report(2, copy(1, 40, Soundness::Whole));
    cluster.lost(1);
    cluster
}

#[test]
fn what_a_rescue_would_cost_is_told_before_anything_is_done() {
    let mut cluster = lost_after_leaving_two_out();
    cluster.joined(3, &[]);
    let (actions, told) = rescue(&mut cluster, None);
    let told = told.unwrap();
    assert_eq!(actions, [], "nothing is done");
    let loss = Loss {
        damaged: vec![],
        unfinished: vec![],
        unsynced: vec![],
        absent: vec![node(1)],
    };
    assert_eq!(told.loss, loss);
    let costs: Vec<_> = told
        .rescuers
        .iter()
        .map(|rescuer| (rescuer.choice, rescuer.member, rescuer.prepared))
        .collect();
    assert_eq!(
        costs,
        [
            (Choice::Copy(node(2)), false, Decree(40)),
            (Choice::Nothing, false, Decree(0)),
        ]
    );
}

#[test]
fn the_chosen_copy_goes_on_alone_in_a_new_epoch() {
    let mut cluster = lost_after_leaving_two_out();
    let word = rescue(&mut cluster, None).1.unwrap().rescuers[0]
        .word
        .clone();
    let (actions, done) = rescue(&mut cluster, Some((Choice::Copy(node(2)), &word)));
    assert_eq!(done.unwrap().chosen, Some(Choice::Copy(node(2))));
    let rescued = Configuration {
        epoch: 1,
        ..configuration(3, 2, &[])
    };
    let finding = Finding::Rescued {
        partition: p(0),
        node: node(2),
        epoch: 1,
    };
    assert!(actions.contains(&Action::Report(finding)), "{actions:?}");
    let told = cluster.stored();
    assert!(told.contains(&stored(2, p(0), rescued)), "{told:?}");
}

#[test]
fn a_word_is_good_for_what_it_was_given_for_and_nothing_else() {
    let mut cluster = lost_after_leaving_two_out();
    let word = rescue(&mut cluster, None).1.unwrap().rescuers[0]
        .word
        .clone();
    let choice = Choice::Copy(node(2));
    assert!(rescue(&mut cluster, Some((choice, "please"))).1.is_err());
    assert!(
        rescue(&mut cluster, Some((Choice::Copy(node(1)), &word)))
            .1
            .is_err()
    );
    cluster.report(2, copy(1, 41, Soundness::Whole));
    let refused = rescue(&mut cluster, Some((choice, &word))).1.unwrap_err();
    assert!(
        refused.to_string().contains("changed meanwhile"),
        "{refused}"
    );
}

#[test]
fn a_word_is_refused_when_a_better_copy_has_come_back_since_it_was_given() {
    let mut cluster = Driver::with_table(3, 1, 3);
    cluster.lost(1);
    cluster.report(2, copy(1, 40, Soundness::Unsynced));
    // While nobody knows what this one had, none of the others goes on by itself.
    cluster.report(3, copy(1, 40, Soundness::Damaged));
    let told = rescue(&mut cluster, None).1.unwrap();
    let [poor] = &told.rescuers[..] else {
        panic!("{told:?}")
    };
    cluster.join(1, 2);
    cluster.report_all(1, &[copy(1, 9000, Soundness::Unsynced)]);
    let choice = Choice::Copy(node(2));
    let refused = rescue(&mut cluster, Some((choice, &poor.word)))
        .1
        .unwrap_err();
    assert!(
        refused.to_string().contains("changed meanwhile"),
        "{refused}"
    );
    let told = rescue(&mut cluster, None).1.unwrap();
    assert_eq!(told.rescuers[0].choice, Choice::Copy(node(1)));
    let word = told.rescuers[1].word.clone();
    let done = rescue(&mut cluster, Some((choice, &word))).1.unwrap();
    assert_eq!(
        done.chosen,
        Some(choice),
        "who knows both may choose either"
    );
}

/// A copy on a node that was learning when it stopped: it is no member by its own disk.
fn unfinished(ballot: u64) -> ReplicaReport {
    ReplicaReport {
        ready: false,
        signature: LearnSignature {
            ballot: Ballot(1),
            incarnation: Incarnation(1),
            counter: 1,
        },
        ..copy(ballot, 50, Soundness::Whole)
    }
}

#[test]
fn a_copy_whose_learn_never_ended_is_none_to_go_on_with() {
    let mut cluster = lost_after_leaving_two_out();
    cluster.joined(3, &[unfinished(2)]);
    let told = rescue(&mut cluster, None).1.unwrap();
    let choices: Vec<Choice> = told.rescuers.iter().map(|rescuer| rescuer.choice).collect();
    assert_eq!(
        choices,
        [Choice::Copy(node(2))],
        "3 has no copy, nor is it free of one"
    );
}

#[test]
fn a_copy_that_was_learnt_to_the_end_and_left_out_later_can_be_chosen() {
    let learnt = ReplicaReport {
        ready: true,
        ..unfinished(1)
    };
    let mut cluster = lost_after_leaving_two_out();
    cluster.report(2, learnt.clone());
    let told = rescue(&mut cluster, None).1.unwrap();
    let [rescuer] = &told.rescuers[..] else {
        panic!("{told:?}")
    };
    assert_eq!(rescuer.choice, Choice::Copy(node(2)));
    let word = rescuer.word.clone();
    let choice = Choice::Copy(node(2));
    rescue(&mut cluster, Some((choice, &word))).1.unwrap();
    let told = cluster.stored();
    let goes_on = told.iter().any(|action| {
        matches!(action, Action::ToNode { message: ToNode::Stored(all), .. }
            if all[0].1.primary.signature == learnt.signature)
    });
    assert!(goes_on, "as the copy that it is: {told:?}");
}

#[test]
fn a_member_whose_whole_copy_is_of_another_learn_than_the_configuration_names_has_none() {
    let mut cluster = Driver::with_table(2, 1, 2);
    cluster.lost(1);
    let of_another = ReplicaReport {
        ready: true,
        ..unfinished(1)
    };
    cluster.report(2, of_another);
    let told = rescue(&mut cluster, None).1.unwrap();
    assert_eq!(told.loss.unfinished, [node(2)]);
    assert_eq!(told.rescuers.len(), 1, "but it is one to choose");
}

#[test]
fn a_member_whose_learn_never_ended_has_no_whole_copy_and_is_not_called_damaged() {
    let mut cluster = Driver::with_table(2, 1, 2);
    cluster.change(1, p(0), configuration(2, 1, &[2]));
    cluster.lost(1);
    cluster.report(2, unfinished(1));
    assert!(
        rescue(&mut cluster, None).1.is_err(),
        "it has not heard of the configuration yet"
    );
    cluster.report(2, unfinished(2));
    let loss = Loss {
        damaged: vec![],
        unfinished: vec![node(2)],
        unsynced: vec![],
        absent: vec![node(1)],
    };
    assert_eq!(rescue(&mut cluster, None).1.unwrap().loss, loss);
    cluster.report(2, copy(2, 50, Soundness::Whole));
    assert!(rescue(&mut cluster, None).1.is_err());
}

#[test]
fn a_partition_with_a_whole_member_needs_no_rescue() {
    let mut cluster = Driver::with_table(2, 1, 2);
    assert!(rescue(&mut cluster, None).1.is_err());
    cluster.lost(1);
    assert!(rescue(&mut cluster, None).1.is_err(), "node 2 takes over");
    cluster.report(2, copy(1, 4, Soundness::Damaged));
    let told = rescue(&mut cluster, None).1.unwrap();
    assert_eq!(
        told.rescuers,
        [],
        "a damaged copy is none, and nobody is free of it"
    );
    cluster.join(1, 2);
    assert!(
        rescue(&mut cluster, None).1.is_err(),
        "who is back may have a whole copy: it has not said yet"
    );
}

#[test]
fn beginning_with_nothing_takes_a_node_that_has_made_an_empty_replica() {
    let mut cluster = lost_after_leaving_two_out();
    cluster.joined(3, &[]);
    let told = rescue(&mut cluster, None).1.unwrap();
    let word = told.rescuers.last().unwrap().word.clone();
    let (actions, done) = rescue(&mut cluster, Some((Choice::Nothing, &word)));
    done.unwrap();
    assert!(actions.contains(&open(3, p(0))), "{actions:?}");
    cluster.opened(3, p(0));
    let told = cluster.stored();
    let empty = Configuration {
        epoch: 1,
        ..configuration(3, 3, &[])
    };
    assert!(told.contains(&stored(3, p(0), empty)), "{told:?}");
}

#[test]
fn who_comes_back_with_a_whole_copy_while_nothing_is_being_made_goes_on() {
    let mut cluster = lost_after_leaving_two_out();
    cluster.joined(3, &[]);
    let told = rescue(&mut cluster, None).1.unwrap();
    let word = told.rescuers.last().unwrap().word.clone();
    rescue(&mut cluster, Some((Choice::Nothing, &word)))
        .1
        .unwrap();
    cluster.join(1, 2);
    cluster.report_all(1, &[copy(2, 50, Soundness::Whole)]);
    cluster.opened(3, p(0));
    cluster.stored();
    let routes = cluster.cluster.routes(TableId(1)).unwrap();
    let primary = routes.configurations().flatten().next().unwrap().primary;
    assert_eq!(primary.node, node(1));
}

// ---- an empty store

fn rebuild(
    cluster: &mut Driver,
    missing: &[u64],
    word: Option<&str>,
) -> (Vec<Action>, Option<Result<Rebuild, Refusal>>) {
    let request = Request::Rebuild {
        missing: missing.iter().map(|&n| node(n)).collect(),
        wall: wall(1),
        word: word.map(str::to_owned),
    };
    let mut actions = cluster.ask(9, request);
    let mut told = None;
    actions.retain(|action| match action {
        Action::Answer { answer, .. } => {
            told = Some(answer.clone().map(|answered| match answered {
                Answered::Rebuild(rebuild) => rebuild,
                other => panic!("{other:?}"),
            }));
            false
        }
        _ => true,
    });
    (actions, told)
}

fn known(id: PartitionId, configuration: &Configuration, prepared: u64) -> ReplicaReport {
    ReplicaReport {
        configuration: Some(configuration.clone()),
        prepared: Decree(prepared),
        ..replica(id, configuration.ballot.0)
    }
}

/// A node joins an empty store and says what it has, and that it knows the table and nodes 1 to 3.
fn remembers(cluster: &mut Driver, n: u64, replicas: &[ReplicaReport]) -> Vec<Action> {
    cluster.join(n, 1);
    cluster.step(Event::Knows {
        node: node(n),
        tables: vec![table(1, "t", 2, 3)],
        nodes: (1..=3).map(address).collect(),
    });
    let actions = cluster.report_all(n, replicas);
    cluster.stored();
    actions
}

#[test]
fn an_empty_store_asks_what_nodes_know_and_makes_no_table_over_their_replicas() {
    let mut cluster = Driver::new();
    let welcome = ToNode::Welcome {
        epoch: EPOCH,
        tell: true,
    };
    assert!(cluster.join(1, 1).contains(&to(1, welcome)));
    let has = [known(p(0), &configuration(4, 1, &[2, 3]), 9)];
    let finding = Finding::Amnesia {
        node: node(1),
        replicas: 1,
    };
    assert_eq!(remembers(&mut cluster, 1, &has), [Action::Report(finding)]);
    let actions = cluster.create(1, specification("t", 1, 1));
    assert!(
        matches!(
            &actions[..],
            [Action::Answer {
                answer: Err(Refusal::Unfit(_)),
                ..
            }]
        ),
        "{actions:?}"
    );
}

#[test]
fn the_highest_configuration_goes_on_far_above_every_known_ballot() {
    let mut cluster = Driver::new();
    let old = configuration(4, 1, &[2, 3]);
    let new = configuration(5, 2, &[3]);
    remembers(
        &mut cluster,
        1,
        &[known(p(0), &old, 99), known(p(1), &old, 1)],
    );
    remembers(
        &mut cluster,
        2,
        &[known(p(0), &new, 50), known(p(1), &old, 1)],
    );
    let (_, told) = rebuild(&mut cluster, &[], None);
    let told = told.unwrap().unwrap();
    assert_eq!(told.found, 2);
    assert_eq!(
        told.unanswered
            .iter()
            .map(|address| address.node)
            .collect::<Vec<_>>(),
        [node(3)]
    );
    let (_, refused) = rebuild(&mut cluster, &[], Some(&told.word));
    let refused = refused.unwrap().unwrap_err().to_string();
    assert!(refused.contains("no answer yet from"), "{refused}");

    let (_, answer) = rebuild(&mut cluster, &[3], Some(&told.word));
    assert_eq!(answer, None, "confirmed when it is stored");
    let leap = 1 << 20;
    let told = cluster.stored();
    let taken_over = configuration(5 + leap, 2, &[]);
    assert!(
        told.contains(&stored(2, p(0), taken_over))
            || told.iter().any(|action| matches!(
                action,
                Action::ToNode { message: ToNode::Stored(all), .. }
                    if all.contains(&(p(0), configuration(5 + leap, 2, &[])))
            )),
        "the member that is missing is left out, and whoever was left out before does not come back: {told:?}"
    );
    let done = |action: &Action| {
        matches!(
            action,
            Action::Answer {
                answer: Ok(Answered::Done),
                ..
            }
        )
    };
    assert!(!told.iter().any(done), "the root does not say so yet");
    assert!(cluster.stored().iter().any(done));
    let routes = cluster.cluster.routes(TableId(1)).unwrap();
    let ballots: Vec<Ballot> = routes
        .configurations()
        .flatten()
        .map(|known| known.ballot)
        .collect();
    assert_eq!(ballots, [Ballot(5 + leap), Ballot(4 + leap)]);
}

#[test]
fn a_new_table_gets_a_number_that_no_replica_has() {
    let mut cluster = Driver::new();
    let of_dropped = known(PartitionId::new(7, 0), &configuration(2, 1, &[]), 1);
    remembers(&mut cluster, 1, &[of_dropped]);
    let told = rebuild(&mut cluster, &[], None).1.unwrap().unwrap();
    assert_eq!(told.dropped, [TableId(7)]);
    assert_eq!(told.empty, [p(0), p(1)]);
    rebuild(&mut cluster, &[2, 3], Some(&told.word));
    cluster.stored();
    cluster.stored();
    cluster.create(2, specification("new", 1, 1));
    cluster.stored();
    assert_eq!(cluster.cluster.table("new").unwrap().id, TableId(8));
}

#[test]
fn a_table_that_was_dropped_stays_dropped_and_can_be_recalled() {
    let mut cluster = Driver::new();
    let old = |id| known(id, &configuration(4, 1, &[]), 9);
    let dropped = PartitionId::new(2, 0);
    cluster.join(1, 1);
    cluster.step(Event::Knows {
        node: node(1),
        tables: vec![
            table(1, "t", 1, 1),
            // The later one of that name.
            Table {
                dropped_at: Some(wall(50)),
                ..table(2, "t", 1, 1)
            },
            Table {
                dropped_at: Some(wall(50)),
                ..table(3, "other", 1, 1)
            },
        ],
        nodes: vec![address(1)],
    });
    cluster.report_all(1, &[old(p(0)), old(dropped), old(PartitionId::new(3, 0))]);
    cluster.stored();
    let told = rebuild(&mut cluster, &[], None).1.unwrap().unwrap();
    rebuild(&mut cluster, &[], Some(&told.word));
    // all of it, and that it is all
    cluster.stored();
    cluster.stored();
    assert_eq!(cluster.cluster.table("t").unwrap().id, TableId(1));
    assert_eq!(cluster.cluster.table("other"), None);
    cluster.recall(5, "other");
    cluster.stored();
    assert_eq!(cluster.cluster.table("other").unwrap().id, TableId(3));
    assert!(cluster.cluster.routes(TableId(3)).is_some());
}

#[test]
fn a_store_that_holds_a_table_is_not_rebuilt() {
    let mut cluster = Driver::with_table(1, 1, 1);
    let told = rebuild(&mut cluster, &[], None).1.unwrap();
    assert!(told.unwrap_err().to_string().contains("not empty"));
}
