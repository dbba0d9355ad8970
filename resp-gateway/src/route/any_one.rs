//! A command that any one partition may answer (RANDOMKEY): asks them in turn, from a random one on, until one has something.

use super::{here, start_at};
use crate::backend::{Backend, Intent};
use crate::server::Gateway;
use crate::sink::{Answer, Sink};
use commands::{CommandSpec, Reply};
use std::rc::Rc;
use tokio::sync::oneshot;

/// Asks; the first answer that is not nil, or nil, goes to `sink`.
pub(super) fn ask<B: Backend>(
    gateway: &Rc<Gateway<B>>,
    table: &B::Table,
    spec: &'static CommandSpec,
    args: &[&[u8]],
    sink: Sink,
) {
    let mut partitions = here(gateway, table);
    if !partitions.is_empty() {
        let first = rand::random_range(0..partitions.len());
        partitions.rotate_left(first);
    }
    let gateway = Rc::clone(gateway);
    let table = table.clone();
    let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_vec()).collect();
    // A task, so that the next partition is never asked from within the backend's answer for the one before.
    tokio::task::spawn_local(async move {
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        for partition in partitions {
            let (answered, answer) = oneshot::channel();
            let sink_of_one = Sink::of_part(sink.origin(), move |answer| {
                let _ = answered.send(answer);
            });
            start_at(
                &gateway,
                &table,
                partition,
                spec,
                &args,
                Intent::Read,
                sink_of_one,
            );
            gateway.backend.flush();
            match answer.await {
                Ok(Answer::Reply(Reply::Nil)) => {}
                Ok(Answer::Encoded(resp3)) if &resp3[..] == b"_\r\n" => {}
                Ok(answer) => return sink.answer(answer),
                // A sink answers when it is dropped.
                Err(_) => return,
            }
        }
        sink.reply(Reply::Nil);
    });
}
