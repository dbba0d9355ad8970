//! A node never knows a lower ballot than one under which it acknowledged, sent or served anything (L2), also after a crash.

use crate::site::At;
use crate::world::World;
use replication::Message;
use types::Ballot;

pub(crate) const NAME: &str = "a ballot never decreases";

pub(crate) fn on_send(world: &mut World, at: At, message: &Message) {
    if let Some(ballot) = spoken_under(message) {
        let promised = &mut world.site_mut(at).promised;
        *promised = ballot.max(*promised);
    }
}

pub(crate) fn on_start(world: &mut World, at: At) {
    let this = world.site(at);
    let promised = this.promised;
    let known = this.replica.as_ref().map(replication::Replica::ballot);
    if known.is_some_and(|known| known < promised) {
        let what = format!("{at} starts with ballot {known:?}, but spoke under {promised}");
        world.violate(NAME, what);
    }
}

/// The ballot under which the sender acts by saying this. What only reports a ballot, or hints, binds nobody.
fn spoken_under(message: &Message) -> Option<Ballot> {
    match message {
        Message::Truncate { configuration, .. } | Message::LearnOffer { configuration, .. } => {
            Some(configuration.ballot)
        }
        Message::Prepare { mutation, .. } => Some(mutation.ballot),
        Message::TruncateAck { ballot, .. }
        | Message::PrepareAck { ballot, .. }
        | Message::Committed { ballot, .. }
        | Message::Differs { ballot }
        | Message::LearnLog { ballot, .. }
        | Message::LearnComplete { ballot, .. }
        | Message::LearnReady { ballot, .. } => Some(*ballot),
        Message::Fresh { asked, .. } => Some(asked.ballot),
        Message::Stale { .. }
        | Message::Join { .. }
        | Message::AskFreshness(_)
        | Message::NotMember { .. }
        | Message::Resign { .. }
        | Message::TakeOver { .. }
        | Message::LearnRequest { .. } => None,
    }
}
