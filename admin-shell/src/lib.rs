//! Administration and data, for people and for scripts.
//!
//! Reading order: [`arguments`] what can be asked, [`admin`] the connection to the meta servers, [`commands`] what each
//! command does, [`answer`] and [`grid`] how answers look, [`progress`] what is shown until they come,
//! [`interactive`] the prompt, [`completion`] what Tab offers there.
//!
//! The shell holds no rules of the cluster: every refusal is a server's own words. It never changes anything that was not
//! asked for, and asks back only where a person sits: at the prompt, or with a terminal as its input.

#![warn(missing_docs)]

mod admin;
mod answer;
mod arguments;
mod commands;
mod completion;
mod grid;
mod interactive;
mod progress;
mod resp3;

pub use admin::{Admin, AdminError, NewTable};
pub use arguments::Options;

use std::process::ExitCode;

/// Runs one command, or the prompt when there is none. Exit code 0: done; 1: refused or failed.
pub fn run(options: Options) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tulpar shell: {error}");
            return ExitCode::FAILURE;
        }
    };
    let Options {
        command,
        connection,
        json,
    } = options;
    let mut session = commands::Session::new(connection);
    let Some(command) = command else {
        return interactive::run(&runtime, &mut session, json);
    };
    if !json && !interactive::sure(&command) {
        eprintln!("tulpar shell: nothing was done");
        return ExitCode::FAILURE;
    }
    match runtime.block_on(session.run(&command)) {
        Ok(answer) => {
            answer.print(json);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tulpar shell: {error}");
            ExitCode::FAILURE
        }
    }
}
