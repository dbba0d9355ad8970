//! A partition that no member can go on with: what an operator may choose, and what each choice costs.
//!
//! Told first, with a word for each choice; done when the word comes back. It is made of the configuration and of what every copy holds, so that it
//! fits nothing else: what changes meanwhile has to be looked at anew. Whoever is chosen goes on alone in a new recovery epoch (rule C6), in which
//! all other copies are worthless, also those that come back.

use crate::cluster::{Holder, Partition};
use crate::{Action, Answered, Choice, Cluster, Finding, Loss, Refusal, Soundness, Token};
use std::hash::{DefaultHasher, Hash, Hasher};
use types::{Ballot, Configuration, Decree, Instant, LearnSignature, Member, NodeId, PartitionId};

/// What can be done for a partition whose members are lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rescue {
    /// Which.
    pub partition: PartitionId,
    /// Its stored configuration.
    pub stored: Configuration,
    /// What became of its members.
    pub loss: Loss,
    /// What may be chosen, the least costly first. Members that come back by themselves would cost nothing.
    pub rescuers: Vec<Rescuer>,
    /// What was chosen, if anything.
    pub chosen: Option<Choice>,
}

/// One of the choices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rescuer {
    /// What to go on with.
    pub choice: Choice,
    /// What says that its price is known.
    pub word: String,
    /// Whether it is a member, or was one once.
    pub member: bool,
    /// Whether it lacks what was not synced when its machine stopped.
    pub unsynced: bool,
    /// Up to where it has mutations.
    pub prepared: Decree,
    /// Up to where it knows them to be committed.
    pub committed: Decree,
    /// Its recovery epoch: a copy of an older one lacks all that came in later ones.
    pub epoch: u64,
    /// The highest ballot it knows: below the stored one it was left out of what came later.
    pub ballot: Ballot,
}

impl Cluster {
    pub(crate) fn rescue_asked(
        &mut self,
        now: Instant,
        token: Token,
        (table, index): (&str, u32),
        choice: Option<(Choice, String)>,
        actions: &mut Vec<Action>,
    ) {
        let told = self
            .find_partition(table, index)
            .and_then(|id| self.rescue(id));
        let answer = told.and_then(|mut rescue| {
            let Some((choice, word)) = choice else {
                return Ok(rescue);
            };
            let rescuer = rescue
                .rescuers
                .iter()
                .find(|rescuer| rescuer.choice == choice)
                .ok_or_else(|| Refusal::Unfit("that can not be chosen: ask again for what can".into()))?;
            if rescuer.word != word {
                return Err(Refusal::Unfit(
                    "that word is not for this, or something has changed meanwhile: ask again, and look at it anew".into(),
                ));
            }
            self.go_on_with(now, &rescue, choice, actions)?;
            rescue.chosen = Some(choice);
            Ok(rescue)
        });
        actions.push(Action::Answer {
            token,
            answer: answer.map(Answered::Rescue),
        });
    }

    fn rescue(&self, id: PartitionId) -> Result<Rescue, Refusal> {
        let unfit = |why: &str| Err(Refusal::Unfit(format!("partition {id} {why}")));
        let Some((partition, stored)) = self
            .partition(id)
            .and_then(|partition| Some((partition, partition.stored.as_ref()?)))
        else {
            return unfit("has no configuration yet: it has nothing to lose");
        };
        let Some(loss) = self.loss(id) else {
            return unfit(
                "has a member with a whole copy, or one that has not reported yet: it needs no rescue",
            );
        };
        let mut rescuers: Vec<Rescuer> = partition
            .holders
            .iter()
            .filter(|holder| holder.soundness != Soundness::Damaged && holder.is_copy())
            // Nothing that was ever in the partition is in it.
            .filter(|holder| holder.ballot > Ballot::ZERO)
            .map(|holder| rescuer(partition, stored, holder))
            .collect();
        rescuers.sort_by_key(|rescuer| {
            std::cmp::Reverse((
                rescuer.epoch,
                rescuer.ballot.min(stored.ballot),
                rescuer.prepared,
            ))
        });
        let seen = seen(&rescuers);
        for rescuer in &mut rescuers {
            rescuer.word = format!("{}-{seen}", rescuer.word);
        }
        if self.blank_node(partition).is_some() {
            rescuers.push(Rescuer {
                choice: Choice::Nothing,
                word: format!("nothing-{}-{seen}", next_ballot(partition, stored).0),
                member: false,
                unsynced: false,
                prepared: Decree::ZERO,
                committed: Decree::ZERO,
                epoch: stored.epoch,
                ballot: Ballot::ZERO,
            });
        }
        Ok(Rescue {
            partition: id,
            stored: stored.clone(),
            loss,
            rescuers,
            chosen: None,
        })
    }

    /// A node without any copy, which can begin with nothing.
    fn blank_node(&self, partition: &Partition) -> Option<NodeId> {
        let named = |node| {
            partition
                .stored
                .as_ref()
                .is_some_and(|stored| stored.contains(node))
        };
        let reported = |node| self.session(node).is_some_and(|session| session.reported);
        self.takers()
            .filter(|&node| partition.holder(node).is_none() && !named(node) && reported(node))
            .min_by_key(|node| {
                let bears = self
                    .shares
                    .get(node)
                    .map_or(0, |share| share.partitions.len());
                (bears, *node)
            })
    }

    fn go_on_with(
        &mut self,
        now: Instant,
        rescue: &Rescue,
        choice: Choice,
        actions: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let id = rescue.partition;
        let gone = || Refusal::Unfit("that node is not there any more".into());
        let partition = self.partition(id).ok_or_else(gone)?;
        let member = match choice {
            Choice::Copy(node) => {
                let holder = partition.holder(node).ok_or_else(gone)?;
                let signature = holder.signature;
                Member { node, signature }
            }
            Choice::Nothing => {
                let node = self.blank_node(partition).ok_or_else(gone)?;
                Member {
                    node,
                    signature: LearnSignature::default(),
                }
            }
        };
        let epochs = partition.holders.iter().map(|holder| holder.epoch);
        let epoch = epochs.chain([rescue.stored.epoch]).max().unwrap_or(0) + 1;
        let configuration = Configuration {
            ballot: next_ballot(partition, &rescue.stored),
            epoch,
            primary: member,
            secondaries: vec![],
        };
        actions.push(Action::Report(Finding::Rescued {
            partition: id,
            node: member.node,
            epoch,
        }));
        match choice {
            Choice::Copy(_) => self.recover(id, configuration),
            Choice::Nothing => self.bear_again(id, configuration),
        }
        self.run_errands(now, member.node, actions);
        Ok(())
    }
}

/// All copies there are, in short: whoever chose one of them did not know of a better one that comes later.
fn seen(rescuers: &[Rescuer]) -> String {
    let mut hasher = DefaultHasher::new();
    for rescuer in rescuers {
        rescuer.word.hash(&mut hasher);
        (rescuer.member, rescuer.unsynced, rescuer.epoch).hash(&mut hasher);
        (rescuer.prepared, rescuer.committed, rescuer.ballot).hash(&mut hasher);
    }
    format!("{:08x}", hasher.finish() as u32)
}

/// A ballot that no replica knows yet: a store that lost its last writes may be behind them.
fn next_ballot(partition: &Partition, stored: &Configuration) -> Ballot {
    let known = partition.holders.iter().map(|holder| holder.ballot).max();
    known.unwrap_or_default().max(stored.ballot).next()
}

fn rescuer(partition: &Partition, stored: &Configuration, holder: &Holder) -> Rescuer {
    Rescuer {
        choice: Choice::Copy(holder.node),
        word: format!(
            "{}-{}-{}",
            holder.node,
            next_ballot(partition, stored).0,
            holder.prepared.0
        ),
        member: stored.contains(holder.node),
        unsynced: holder.soundness == Soundness::Unsynced,
        prepared: holder.prepared,
        committed: holder.committed,
        epoch: holder.epoch,
        ballot: holder.ballot,
    }
}
