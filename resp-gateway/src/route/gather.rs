//! Puts the replies of several partitions together into the one that the client expects.

use crate::codec::decode;
use crate::sink::{Answer, Sink};
use bytes::Bytes;
use commands::Reply;
use commands::table::Gather;
use std::cell::RefCell;
use std::rc::Rc;

/// How a backend's error begins that does not say whether the write took effect.
const UNKNOWN: &[u8] = b"ERR the outcome";

/// A reply that is being put together.
struct Gathering {
    gather: Gather,
    writes: bool,
    partitions: Vec<u32>,
    /// For each partition, which of the command's keys it got.
    places: Vec<Vec<usize>>,
    replies: Vec<Option<Reply>>,
    missing: usize,
    sink: Option<Sink>,
}

/// One sink for each of `partitions`, in their order; when all are answered, so is `sink`.
pub(super) fn gather(
    gather: Gather,
    writes: bool,
    partitions: &[u32],
    places: Vec<Vec<usize>>,
    sink: Sink,
) -> Vec<Sink> {
    let origin = sink.origin();
    let gathering = Rc::new(RefCell::new(Gathering {
        gather,
        writes,
        partitions: partitions.to_vec(),
        places,
        replies: partitions.iter().map(|_| None).collect(),
        missing: partitions.len(),
        sink: Some(sink),
    }));
    if partitions.is_empty() {
        finish(&gathering);
    }
    (0..partitions.len())
        .map(|part| {
            let gathering = Rc::clone(&gathering);
            Sink::of_part(origin.clone(), move |answer| {
                let complete = {
                    let mut gathering = gathering.borrow_mut();
                    gathering.replies[part] = Some(into_reply(answer));
                    gathering.missing -= 1;
                    gathering.missing == 0
                };
                if complete {
                    finish(&gathering);
                }
            })
        })
        .collect()
}

/// An answer as a value.
pub(super) fn into_reply(answer: Answer) -> Reply {
    match answer {
        Answer::Reply(reply) => reply,
        Answer::Encoded(resp3) => {
            decode(&resp3).unwrap_or_else(|malformed| Reply::error(format!("ERR {malformed}")))
        }
    }
}

fn finish(gathering: &RefCell<Gathering>) {
    let mut gathering = gathering.borrow_mut();
    let reply = gathering.merge();
    if let Some(sink) = gathering.sink.take() {
        drop(gathering);
        sink.reply(reply);
    }
}

impl Gathering {
    fn merge(&mut self) -> Reply {
        if let Some(reply) = self.failure() {
            return reply;
        }
        let replies = std::mem::take(&mut self.replies).into_iter().flatten();
        let merged = match self.gather {
            Gather::Sum => sum(replies),
            Gather::AllOk => replies
                .map(|reply| matches!(reply, Reply::Ok).then_some(()))
                .collect::<Option<()>>()
                .map(|()| Reply::Ok),
            Gather::Positions => in_places(replies, &self.places),
            Gather::Concatenate => concatenate(replies),
            // These ask one partition after the other.
            Gather::AnyOne | Gather::Cursor => None,
        };
        merged.unwrap_or_else(|| {
            Reply::error("ERR a partition answered with something else than was asked for")
        })
    }

    /// If some have failed: how many, what became of the others, and of one of them which and why.
    fn failure(&self) -> Option<Reply> {
        let errors: Vec<(u32, &Bytes)> = self
            .replies
            .iter()
            .zip(&self.partitions)
            .filter_map(|(reply, partition)| match reply {
                Some(Reply::Error(text)) => Some((*partition, text)),
                _ => None,
            })
            .collect();
        let (&(_, first), all) = (errors.first()?, self.partitions.len());
        let (failed, everywhere) = (errors.len(), errors.len() == all);
        if everywhere && errors.iter().all(|(_, text)| *text == first) {
            return Some(Reply::Error(first.clone()));
        }
        let unknown = |&&(_, text): &&(u32, &Bytes)| text.starts_with(UNKNOWN);
        let (shown, unknown) = if self.writes {
            let shown = errors.iter().find(unknown).or(errors.first());
            (shown, errors.iter().filter(unknown).count())
        } else {
            (errors.first(), 0)
        };
        let &(partition, text) = shown?;
        let text = String::from_utf8_lossy(text);
        let mut became = String::new();
        if unknown > 0 {
            became = format!("; it may have taken effect on {unknown} of them");
        }
        if self.writes && !everywhere {
            became += "; it has taken effect on the others";
        }
        // Who reads TRYAGAIN and its like sends the whole command again: only if nothing took effect anywhere.
        let (code, reason) = if became.is_empty() {
            text.split_once(' ').unwrap_or(("ERR", &text))
        } else {
            ("ERR", text.strip_prefix("ERR ").unwrap_or(&text))
        };
        Some(Reply::error(format!(
            "{code} failed on {failed} of {all} partitions{became}; partition {partition}: {reason}"
        )))
    }
}

fn sum(replies: impl Iterator<Item = Reply>) -> Option<Reply> {
    let mut sum = 0i64;
    for reply in replies {
        let Reply::Integer(number) = reply else {
            return None;
        };
        sum = sum.saturating_add(number);
    }
    Some(Reply::Integer(sum))
}

fn concatenate(replies: impl Iterator<Item = Reply>) -> Option<Reply> {
    let mut all = Vec::new();
    for reply in replies {
        let Reply::Array(items) = reply else {
            return None;
        };
        all.extend(items);
    }
    Some(Reply::Array(all))
}

fn in_places(replies: impl Iterator<Item = Reply>, places: &[Vec<usize>]) -> Option<Reply> {
    let mut all = vec![Reply::Nil; places.iter().map(Vec::len).sum()];
    for (reply, places) in replies.zip(places) {
        let Reply::Array(items) = reply else {
            return None;
        };
        if items.len() != places.len() {
            return None;
        }
        for (item, &place) in items.into_iter().zip(places) {
            all[place] = item;
        }
    }
    Some(Reply::Array(all))
}
