//! The two doors: a command and a view in, a reply and effects out.

use crate::hash::edit::Edit;
use crate::keyspace::{Args, Keyspace, Outcome, Stop};
use crate::moment::Moment;
use crate::reply::Reply;
use crate::rows::Entry;
use crate::table::{CommandSpec, Function};
use crate::view::{Interrupt, View, ViewMut};
use types::Slot;

/// What came of a command.
#[derive(Clone, PartialEq, Debug)]
pub struct Evaluated {
    /// The answer.
    pub reply: Reply,
    /// Whether rows were written. Never if the reply is an error: what may have been written before it is rolled back by the caller.
    pub wrote: bool,
    /// Whether the reply depends on something having expired (rule R7): it waits for the commit of a mutation with a timestamp not
    /// below this moment's. If nothing was written, [`lazy_delete`] makes one; an empty one does as well.
    pub depends_on_expiry: bool,
    /// How many rows became garbage, as far as it is known without looking.
    pub garbage: u64,
}

/// Evaluates a reading command. `args` begins with the command's name and is as [`crate::resolve`] accepted it.
pub fn evaluate_read<'a>(
    spec: &CommandSpec,
    args: &Args<'_>,
    view: &'a mut dyn View,
    moment: &'a Moment,
) -> Result<Evaluated, Interrupt> {
    let mut keyspace = Keyspace::new(view, moment);
    let outcome = match spec.function {
        Function::Read(function) => function(&mut keyspace, args),
        Function::Write(_) | Function::Elsewhere => Ok(elsewhere(spec)),
    };
    finish(outcome, &keyspace)
}

/// Evaluates a command that may write; reading ones as well, over what the open mutation has written so far.
///
/// On an interrupt, and when the reply is an error, the caller takes the view back to where it was: a command may find out late.
pub fn evaluate_write<'a>(
    spec: &CommandSpec,
    args: &Args<'_>,
    view: &'a mut dyn ViewMut,
    moment: &'a Moment,
) -> Result<Evaluated, Interrupt> {
    match spec.function {
        Function::Write(function) => {
            let mut keyspace = Keyspace::new(view, moment);
            let outcome = function(&mut keyspace, args);
            finish(outcome, &keyspace)
        }
        Function::Read(_) | Function::Elsewhere => evaluate_read(spec, args, view, moment),
    }
}

/// Removes what has expired at `key`, the key itself or some of its fields, and tells whether there was anything.
pub fn lazy_delete<'a>(
    key: &[u8],
    view: &'a mut dyn ViewMut,
    moment: &'a Moment,
) -> Result<bool, Interrupt> {
    let slot = Slot::of(key);
    let mut keyspace = Keyspace::new(view, moment);
    let collected = match keyspace.take_up(slot, key) {
        // Opening a hash for change collects what has expired in it.
        Ok(Some(Entry::Hash(_))) => {
            Edit::open(&mut keyspace, key).and_then(|edit| edit.close(&mut keyspace))
        }
        Ok(_) => Ok(()),
        Err(stop) => Err(stop),
    };
    match collected {
        Ok(()) => Ok(keyspace.wrote),
        Err(Stop::Interrupt(interrupt)) => Err(interrupt),
        // A key that exists is within the limits of its time, and a stricter limit is no reason to keep what has expired.
        Err(Stop::Refused(_)) => Ok(false),
    }
}

fn finish<V: ?Sized>(outcome: Outcome, keyspace: &Keyspace<'_, V>) -> Result<Evaluated, Interrupt> {
    let reply = match outcome {
        Ok(reply) => reply,
        Err(Stop::Refused(refusal)) => refusal.into(),
        Err(Stop::Interrupt(interrupt)) => return Err(interrupt),
    };
    let kept = !reply.is_error();
    Ok(Evaluated {
        wrote: keyspace.wrote && kept,
        garbage: if kept { keyspace.garbage } else { 0 },
        depends_on_expiry: keyspace.depends_on_expiry,
        reply,
    })
}

/// Only a caller that sends a command through the wrong door sees this.
fn elsewhere(spec: &CommandSpec) -> Reply {
    Reply::error(format!(
        "ERR '{}' is not evaluated by a partition's reader",
        spec.name
    ))
}
