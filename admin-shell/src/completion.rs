//! What Tab offers: words and options by the same declarations that parse them, values that are declared, and names of what the cluster has.
//!
//! Which names a value takes is said by what it is called in the declarations: see [`TABLE`] and the others. Of a cluster that does not answer
//! nothing is offered.

use crate::admin::Admin;
use crate::arguments::{Connection, DROPPED, Line, NODE, TABLE};
use crate::commands::Servers;
use crate::interactive::split;
use clap::{Arg, CommandFactory};
use rustyline::Context;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use std::cell::RefCell;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long whoever pressed Tab is kept waiting for names.
const PATIENCE: Duration = Duration::from_secs(1);

/// What may stand at the end of a line.
#[derive(PartialEq, Eq, Debug)]
struct Wanted {
    /// Where in the line it begins.
    start: usize,
    /// What is there already.
    unfinished: String,
    /// Words that may.
    words: Vec<String>,
    /// Names that may, by what the declarations call them.
    names: Option<String>,
}

/// What the declarations say of the end of a line.
fn wanted(line: &str) -> Wanted {
    let start = line.rfind(char::is_whitespace).map_or(0, |space| space + 1);
    let (before, unfinished) = line.split_at(start);
    let words = split(before).unwrap_or_default();
    let root = Line::command();
    let (mut at, mut places, mut option) = (&root, 0, None);
    for word in &words {
        if option.take().is_some() {
            continue;
        }
        if let Some(long) = word.strip_prefix("--") {
            let named = |argument: &&Arg| argument.get_long() == Some(long);
            option = at
                .get_arguments()
                .find(named)
                .filter(|found| takes_value(found));
        } else if let Some(found) = at.find_subcommand(word).filter(|_| places == 0) {
            at = found;
        } else {
            places += 1;
        }
    }
    let mut wanted = Wanted {
        start,
        unfinished: unfinished.to_owned(),
        words: Vec::new(),
        names: None,
    };
    if let Some(option) = option {
        wanted.takes(option);
    } else if let Some((long, value)) = unfinished
        .strip_prefix("--")
        .and_then(|rest| rest.split_once('='))
    {
        wanted.start = line.len() - value.len();
        value.clone_into(&mut wanted.unfinished);
        let named = |argument: &&Arg| argument.get_long() == Some(long);
        if let Some(option) = at.get_arguments().find(named) {
            wanted.takes(option);
        }
    } else if unfinished.starts_with('-') {
        let options = at.get_arguments().filter_map(Arg::get_long);
        wanted.words.extend(options.map(|long| format!("--{long}")));
    } else {
        let commands = at
            .get_subcommands()
            .map(|command| command.get_name().to_owned());
        wanted.words.extend(commands.filter(|_| places == 0));
        if before.trim().is_empty() {
            wanted.words.push("help".to_owned());
        }
        if let Some(place) = at.get_positionals().nth(places) {
            wanted.takes(place);
        }
    }
    wanted
}

fn takes_value(argument: &Arg) -> bool {
    argument.get_action().takes_values()
}

impl Wanted {
    /// A value of this argument is what stands here.
    fn takes(&mut self, argument: &Arg) {
        let values = argument.get_possible_values();
        self.words
            .extend(values.iter().map(|value| value.get_name().to_owned()));
        let called = argument.get_value_names().and_then(<[_]>::first);
        self.names = called.map(ToString::to_string);
    }
}

/// Completes lines, and asks the cluster for what it alone knows.
pub(crate) struct Completion<'a> {
    runtime: &'a Runtime,
    /// Not the session's: Tab is pressed while that one waits for a line. `None`: what it was given cannot be right.
    admin: RefCell<Option<Admin>>,
}

impl<'a> Completion<'a> {
    pub(crate) fn new(runtime: &'a Runtime, connection: &Connection) -> Self {
        let secret = connection.admin_secret.as_deref();
        let admin = Admin::new(connection.meta.clone(), secret);
        Self {
            runtime,
            admin: RefCell::new(admin.ok()),
        }
    }

    /// The names of what the declarations call so.
    fn names(&self, called: &str) -> Vec<String> {
        let mut admin = self.admin.borrow_mut();
        let Some(admin) = admin.as_mut() else {
            return Vec::new();
        };
        let asked = async {
            match called {
                TABLE => tables(admin, false).await,
                DROPPED => tables(admin, true).await,
                NODE => servers(admin).await,
                _ => None,
            }
        };
        let answered = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, asked).await });
        answered.ok().flatten().unwrap_or_default()
    }
}

async fn tables(admin: &mut Admin, dropped: bool) -> Option<Vec<String>> {
    let mut tables = admin.list_tables(dropped).await.ok()?;
    tables.retain(|table| (table.dropped_at != 0) == dropped);
    Some(tables.into_iter().map(|table| table.name).collect())
}

async fn servers(admin: &mut Admin) -> Option<Vec<String>> {
    let nodes = admin.list_nodes().await.ok()?;
    Some(nodes.iter().map(Servers::name_of).collect())
}

impl Completer for Completion<'_> {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let Wanted {
            start,
            unfinished,
            mut words,
            names,
        } = wanted(&line[..position]);
        words.extend(names.into_iter().flat_map(|called| self.names(&called)));
        words.retain(|word| word.starts_with(&unfinished));
        let mut seen = std::collections::BTreeSet::new();
        // A server that came back with an empty disk has the name of the one it was.
        words.retain(|word| seen.insert(word.clone()));
        let pair = |word: String| Pair {
            replacement: format!("{word} "),
            display: word,
        };
        Ok((start, words.into_iter().map(pair).collect()))
    }
}

impl Hinter for Completion<'_> {
    type Hint = String;
}
impl Highlighter for Completion<'_> {}
impl Validator for Completion<'_> {}
impl rustyline::Helper for Completion<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> (usize, Vec<String>) {
        let mut wanted = wanted(line);
        wanted
            .words
            .retain(|word| word.starts_with(&wanted.unfinished));
        (wanted.start, wanted.words)
    }

    fn names(line: &str) -> Option<String> {
        wanted(line).names
    }

    #[test]
    fn commands_subcommands_and_options_are_completed() {
        assert_eq!(
            words("hs"),
            (0, vec!["hset".to_owned(), "hscan".to_owned()])
        );
        assert_eq!(words("table dr"), (6, vec!["drop".to_owned()]));
        assert_eq!(
            words("table create x --par"),
            (15, vec!["--partitions".to_owned()])
        );
        assert_eq!(words("hel"), (0, vec!["help".to_owned()]));
        assert_eq!(words("table list ta"), (11, vec![]));
    }

    #[test]
    fn values_that_are_declared_are_completed() {
        let durabilities = || vec!["sync".to_owned(), "buffered".to_owned()];
        assert_eq!(words("table create x --durability "), (28, durabilities()));
        assert_eq!(
            words("table create x --durability=b"),
            (28, durabilities()[1..].to_vec())
        );
        assert_eq!(words("hot --by w"), (9, vec!["writes".to_owned()]));
    }

    #[test]
    fn names_are_asked_for_where_one_is_wanted() {
        for (line, called) in [
            ("use ", TABLE),
            ("partitions ord", TABLE),
            ("table drop --yes ", TABLE),
            ("move primary ", TABLE),
            ("move primary orders 3 --to rack", NODE),
            ("move replica --from rack7-a --to=", NODE),
            ("node drain ", NODE),
            ("slowlog --node ", NODE),
            ("config ra", NODE),
            ("table recall ", DROPPED),
        ] {
            assert_eq!(names(line).as_deref(), Some(called), "{line}");
        }
        for line in [
            "table create ",
            "get ",
            "config rack7-b ",
            "move primary orders ",
        ] {
            let called = names(line);
            let known = [TABLE, NODE, DROPPED];
            assert!(
                !called.is_some_and(|called| known.contains(&&called[..])),
                "{line}"
            );
        }
    }
}
