//! What `deploy` ships: units that systemd takes, manifests that Kubernetes takes, settings that the servers know and start with.
//!
//! That a cluster comes up from it is shown by `compose`, where there is a Docker Engine.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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

/// What a container's variable is outside of Kubernetes: ports that the system chooses, servers that are not there, a directory of the test's.
fn outside(variable: &Value, directory: &Path) -> String {
    let Some(text) = variable["value"].as_str() else {
        return "from a secret or the pod".into();
    };
    let name = variable["name"].as_str().expect("a variable has a name");
    match name.rsplit("__").next() {
        Some("LISTEN" | "REDIS" | "HTTP") => {
            let (host, _) = text.rsplit_once(':').expect("host:port");
            format!("{host}:0")
        }
        Some("META") => "127.0.0.1:1".into(),
        Some("ZOOKEEPER") => "127.0.0.1:1/tulpar".into(),
        Some("DATA_DIR") => directory.display().to_string(),
        _ => text.replace("$(POD_NAME)", "pod-0"),
    }
}

#[test]
fn every_server_starts_with_the_settings_of_its_manifest() {
    let mut started = Vec::new();
    for manifest in files("kubernetes", "yaml") {
        for object in tools::yaml(&manifest) {
            let container = &object["spec"]["template"]["spec"]["containers"][0];
            let Some(role) = container["args"][0].as_str() else {
                continue;
            };
            let directory = tempfile::tempdir().unwrap();
            let variables = container["env"].as_array().expect("it has settings");
            let variables = variables.iter().map(|variable| {
                let name = variable["name"].as_str().expect("a variable has a name");
                (name, outside(variable, directory.path()))
            });
            let mut server = program::command([role])
                .envs(variables)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut said = String::new();
            let mut stdout = BufReader::new(server.stdout.take().expect("it is piped"));
            stdout.read_line(&mut said).unwrap();
            server.kill().unwrap();
            server.wait().unwrap();
            let mut complaints = String::new();
            let mut stderr = server.stderr.take().expect("it is piped");
            stderr.read_to_string(&mut complaints).unwrap();
            assert!(
                said.starts_with(&format!("tulpar {role} ready: ")),
                "{}: {said}{complaints}",
                manifest.display()
            );
            started.push(role.to_owned());
        }
    }
    assert_eq!(started, ["gateway", "meta", "replica"]);
}
