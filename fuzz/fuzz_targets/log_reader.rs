//! Opening a commit log that is not as it was written: after any damage it yields records that were appended and no others, and what is
//! missing below a mark that is still there is reported. Arbitrary files, whose checksums may be right, are no panic.
#![no_main]

#[path = "log/damage.rs"]
mod damage;
#[path = "log/foreign.rs"]
mod foreign;
#[path = "log/life.rs"]
mod life;
#[path = "log/model.rs"]
mod model;
#[path = "log/owner.rs"]
mod owner;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Damaged(life::Life),
    Foreign(foreign::Files<'a>),
}

fuzz_target!(|input: Input<'_>| {
    match input {
        Input::Damaged(life) => life::run(&life),
        Input::Foreign(files) => foreign::run(&files),
    }
});
