//! The prompt: history, and a question before what cannot easily be undone.

use crate::arguments::{
    Command, Line, LineCommand, MetaCommand, NodeCommand, PartitionCommand, TableCommand,
};
use crate::commands::Session;
use crate::completion::Completion;
use clap::Parser;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::runtime::Runtime;

const EXAMPLES: &str = "
For example:
  table create orders --partitions 16     a table in 16 parts, three copies of each
  use orders                              go on with it
  set user:1 Ada --ttl 1h                 a key, as in Redis
  hset user:2 name 'Ada Lovelace'         a sort key under a hash key (a Redis hash field)
  partitions orders --digest              are all copies equal?
  health                                  what is wrong, and what is done about it
  hot orders --by writes                  which partitions are busiest
  slowlog                                 which commands took long
  config rack7-b budgets                  what a server is set to
  metrics rack7-b replication             what it measures
  node drain rack7-b --wait               empty a server before it goes
  balance plan                            what would be moved next
  help hscan                              all about one command
";

/// Reads and does one line after the other, until the user leaves.
pub(crate) fn run(runtime: &Runtime, session: &mut Session, json: bool) -> ExitCode {
    let completion = Completion::new(runtime, &session.connection);
    let mut editor = match editor(completion) {
        Ok(editor) => editor,
        Err(error) => {
            eprintln!("tulpar shell: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!(
        "Tulpar shell, meta {}. 'help' lists the commands, Tab completes, Ctrl-D leaves.",
        session.connection.meta.join(", ")
    );
    loop {
        let prompt = format!("{}> ", session.connection.table);
        match editor.readline(&prompt) {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => {
                let _ = editor.add_history_entry(&line);
                match understand(&line) {
                    Ok(LineCommand::Exit) => break,
                    Ok(LineCommand::Use { name, password }) => session.choose_table(name, password),
                    Ok(LineCommand::Command(command)) => {
                        if confirmed(&command, &mut editor) {
                            perform(runtime, session, &command, json);
                        }
                    }
                    Err(explanation) => eprint!("{explanation}"),
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => {
                eprintln!("tulpar shell: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if let Some(path) = history_file() {
        // A home directory that cannot be written costs only the history.
        let _ = editor.save_history(&path);
    }
    ExitCode::SUCCESS
}

fn perform(runtime: &Runtime, session: &mut Session, command: &Command, json: bool) {
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = session.run(command) => Some(outcome),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    match outcome {
        Some(Ok(answer)) => answer.print(json),
        Some(Err(error)) => eprintln!("{error}"),
        None => eprintln!("interrupted; a change that was asked for may still happen"),
    }
}

/// What a line asks for, or what is wrong with it (or the help asked for).
fn understand(line: &str) -> Result<LineCommand, String> {
    let words = split(line)?;
    match Line::try_parse_from(words) {
        Ok(line) => Ok(line.command),
        Err(error) => {
            let mut text = error.render().to_string();
            if line.trim() == "help" {
                text.push_str(EXAMPLES);
            }
            Err(text)
        }
    }
}

/// Words of a line; quotes and backslashes as in a shell.
pub(crate) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.trim().chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word.get_or_insert_default().push(
                characters
                    .next()
                    .ok_or("nothing follows the last backslash\n")?,
            ),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (Some(_) | None, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        return Err(format!("the quote {open} is not closed\n"));
    }
    words.extend(word);
    Ok(words)
}

/// Asks before something happens that users notice or that can not be undone.
fn confirmed(command: &Command, editor: &mut Editor<Completion<'_>, FileHistory>) -> bool {
    let Some((question, wanted)) = dangerous(command) else {
        return true;
    };
    let sure = editor
        .readline(&question)
        .is_ok_and(|answer| answer.trim() == wanted);
    if !sure {
        println!("nothing was done");
    }
    sure
}

/// Whether a command given on the command line is meant. Scripts are not asked.
pub(crate) fn sure(command: &Command) -> bool {
    let Some((question, wanted)) = dangerous(command) else {
        return true;
    };
    if !std::io::stdin().is_terminal() {
        return true;
    }
    eprint!("{question}");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && answer.trim() == wanted
}

/// What to ask before a command, and the answer on which it is done; nothing for a harmless one.
fn dangerous(command: &Command) -> Option<(String, String)> {
    match command {
        Command::Table(TableCommand::Drop { name, yes: false }) => Some((
            format!("Clients of table {name} will get errors at once. Its name, to go on: "),
            name.clone(),
        )),
        Command::Table(TableCommand::Alter { name, rules, .. }) if rules.read_only => Some((
            format!("Writes to table {name} will be refused. Its name, to go on: "),
            name.clone(),
        )),
        Command::Node(NodeCommand::Drain {
            node, yes: false, ..
        }) => Some((
            format!("All replicas on {node} will be copied elsewhere. Its name, to go on: "),
            node.clone(),
        )),
        Command::Partition(PartitionCommand::Rescue {
            name,
            partition,
            word: Some(_),
            ..
        }) => Some((
            format!(
                "What other copies of partition {partition} of {name} had more is lost for ever. The table's name, to go on: "
            ),
            name.clone(),
        )),
        Command::Meta(MetaCommand::Rebuild { word: Some(_), .. }) => Some((
            "The metadata store will be what was shown. 'rebuild', to go on: ".to_owned(),
            "rebuild".to_owned(),
        )),
        _ => None,
    }
}

fn editor(completion: Completion<'_>) -> rustyline::Result<Editor<Completion<'_>, FileHistory>> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(completion));
    if let Some(path) = history_file() {
        // The first time there is none.
        let _ = editor.load_history(&path);
    }
    Ok(editor)
}

fn history_file() -> Option<PathBuf> {
    std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".tulpar_history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_in_a_shell() {
        let words = |line| split(line).unwrap();
        assert_eq!(
            words(r#"set  a 'b c' "d\"e" f\ g ''"#),
            ["set", "a", "b c", "d\"e", "f g", ""]
        );
        assert!(split("set 'a").is_err());
        assert!(split("set a\\").is_err());
    }

    #[test]
    fn the_prompt_understands_what_the_command_line_does() {
        assert!(matches!(
            understand("table create orders --partitions 4"),
            Ok(LineCommand::Command(Command::Table(TableCommand::Create {
                partitions: 4,
                ..
            })))
        ));
        assert!(matches!(
            understand("redis incrby counter -5"),
            Ok(LineCommand::Command(Command::Redis { words })) if words == ["incrby", "counter", "-5"]
        ));
        assert!(matches!(understand("quit"), Ok(LineCommand::Exit)));
        assert!(understand("help").unwrap_err().contains("For example"));
        assert!(understand("tabel list").unwrap_err().contains("tabel"));
    }
}
