//! What `deploy` ships: units that systemd takes, manifests that Kubernetes takes, settings that the servers know.
//!
//! That a cluster comes up from it is shown by `compose`, where there is a Docker Engine.

use std::path::{Path, PathBuf};
use std::process::Command;
use tests::{program, tools};

fn deploy(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(folder)
}

/// The files of a folder with this ending, in order.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(deploy(folder)).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has no .{ending}");
    files
}

#[test]
fn systemd_finds_no_fault_with_the_units() {
    let directory = tempfile::tempdir().unwrap();
    for unit in files("systemd", "service") {
        let text = std::fs::read_to_string(&unit).unwrap();
        assert!(text.contains("/usr/bin/tulpar"), "{}", unit.display());
        // Where it is installed here.
        let program = program::path();
        let text = text.replace("/usr/bin/tulpar", &program.display().to_string());
        let copy = directory.path().join(unit.file_name().unwrap());
        std::fs::write(&copy, text).unwrap();
        let ended = program::run(Command::new("systemd-analyze").arg("verify").arg(&copy));
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(
            ended.status.success() && said.trim().is_empty(),
            "{}: {said}",
            unit.display()
        );
    }
}

#[test]
fn kubernetes_takes_the_manifests() {
    for manifest in files("kubernetes", "yaml") {
        if manifest.ends_with("kustomization.yaml") {
            continue;
        }
        let said = tools::kubernetes_validate(&manifest);
        assert!(
            said.contains("passed"),
            "nothing was looked at in {}: {said}",
            manifest.display()
        );
    }
}

#[test]
fn every_setting_in_manifests_and_compose_file_is_one_of_its_server() {
    let mut found = 0;
    let texts = files("kubernetes", "yaml")
        .into_iter()
        .chain(files("compose", "yaml"));
    for file in texts {
        let text = std::fs::read_to_string(&file).unwrap();
        for variable in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let Some((role, key)) = variable
                .strip_prefix("TULPAR__")
                .and_then(|rest| rest.split_once("__"))
            else {
                continue;
            };
            let sample = deploy("").join(format!("{}.toml", role.to_lowercase()));
            let sample = std::fs::read_to_string(&sample).expect("there is a sample for the role");
            let key = key.to_lowercase();
            let known = sample.lines().any(|line| {
                let line = line.trim_start_matches("# ");
                line.strip_prefix(&key)
                    .is_some_and(|rest| rest.starts_with(" ="))
            });
            assert!(known, "{}: {variable} is no setting", file.display());
            found += 1;
        }
    }
    assert!(found > 0, "no settings were found");
}
