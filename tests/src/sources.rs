//! What the sources say there is: every effect, and every line that waits for one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A line of our own code: its file, from the workspace's root, and its number, from 1.
pub type Line = (String, usize);

/// The workspace's root.
///
/// # Panics
/// When the tests are in no workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in no workspace").to_path_buf()
}

/// Lines that wait for no effect, each by its file and a part of it, and why there is nothing to die between.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    // Start-up: a function that dies there has begun nothing, and what it was started for comes again.
    ("settings.rs", "settings::aws().await"),
    ("shared/aws/src/settings.rs", ".load().await"),
    // The way of each request, which its effect is around.
    ("shared/aws/src/connections.rs", "answer.await"),
    // Waits of this process alone.
    ("", "tokio::time::sleep("),
    ("endpoints/src/change.rs", "repeats.wait().await"),
    ("endpoints/src/create.rs", "repeats.wait().await"),
    ("endpoints/src/keys/make.rs", "repeats.wait().await"),
    // Names are looked up; nobody is changed by that.
    ("dispatch/src/http/resolve.rs", ".await"),
    ("endpoints/src/address.rs", ".await"),
    ("endpoints/src/patch.rs", "address::check("),
    ("endpoints/src/test_endpoint.rs", "address::check("),
    ("endpoints/src/create.rs", "address::check("),
    // The request has been made, and its answer is read: the same as right after the request.
    ("dispatch/src/http.rs", "read(response, started.elapsed(), deadline).await"),
    ("dispatch/src/http.rs", "answer::read(&mut response"),
    ("dispatch/src/http/answer.rs", "body.collect(response)"),
    ("dispatch/src/http/answer.rs", "response.chunk().await"),
    // The first key of a stack: an invocation without a URL, which writes what `POST /v1/keys` writes.
    ("endpoints/src/handler.rs", "admin_key::create("),
    ("endpoints/src/admin_key.rs", "keys::store("),
];

/// Lines that only a run reaches in which something else has gone wrong before: one death does not lead there. The calls
/// behind them are died at elsewhere; what they do is in `tests/it`.
const AFTER_ANOTHER_FAULT: &[(&str, &str)] = &[
    // What was known of an endpoint is too old by the end of an attempt.
    ("dispatch/src/endpoint_cache.rs", "None => self.read(id).await"),
    // The endpoint was read for this message a moment ago; its health has changed since.
    ("dispatch/src/probe.rs", "app.endpoints.known(id).await"),
    // Another call has changed the owner's keys in between, or a key was revoked without its ring.
    ("endpoints/src/keys/make.rs", "app.keys.get(&stored.key_id).await"),
    ("endpoints/src/keys/make.rs", "without_revoked(app, ring).await"),
    ("endpoints/src/keys/make.rs", "app.keys.get(&key.id).await"),
    ("endpoints/src/keys/make.rs", "buffer_unordered(AT_ONCE)"),
    ("endpoints/src/keys/revoke.rs", "app.keys.revoke_alone("),
    ("endpoints/src/keys/revoke.rs", "app.keys.get(&revoked.key_id).await"),
    ("shared/aws/src/api_keys/write.rs", "match effect(CALL, request.send()).await"),
    // The key was removed after its retention.
    ("endpoints/src/keys/revoke.rs", "None => order.with_made"),
];

/// Files that use the monotonic clock alone, which may stand still between two invocations. What they measure begins and
/// ends within one.
#[cfg(test)]
const WITHIN_ONE_INVOCATION: &[&str] = &[
    // How long an answer took, for the log.
    "jobs/src/jobs_queue.rs",
    "jobs/src/sweep/mod.rs",
    "web/src/logged.rs",
    // The deadline of an attempt.
    "dispatch/src/http.rs",
    "dispatch/src/http/answer.rs",
    "dispatch/src/http/send.rs",
    // How long a call goes on, or tries again.
    "endpoints/src/change.rs",
    "endpoints/src/keys/revoke.rs",
    "/create_replay/dry_run.rs",
    "jobs/src/gather.rs",
    "shared/aws/src/batch.rs",
    // How old the circuits are that one run of a leg has read.
    "/create_replay/chosen.rs",
    "jobs/src/rows.rs",
    // Both clocks.
    "shared/aws/src/clock.rs",
];

/// Every line of the product that waits for something, but for those without an effect.
#[must_use]
pub fn awaits() -> BTreeSet<Line> {
    let mut found = BTreeSet::new();
    for path in sources() {
        let file = name(&path);
        if file.ends_with("/main.rs") || file.ends_with("/effect.rs") {
            continue;
        }
        for (number, line) in product(&path) {
            let waits = line.contains(".await") && !line.trim_start().starts_with("//");
            let excused = WITHOUT_EFFECT
                .iter()
                .chain(AFTER_ANOTHER_FAULT)
                .any(|(of, part)| file.contains(of) && line.contains(part));
            if waits && !excused {
                found.insert((file.clone(), number));
            }
        }
    }
    found
}

/// The text of a line.
#[must_use]
pub fn text((file, number): &Line) -> String {
    let source = fs::read_to_string(workspace().join(file)).unwrap();
    source.lines().nth(number - 1).unwrap_or_default().trim().to_owned()
}

/// The lines of a file that are no test's, with their numbers.
fn product(path: &Path) -> Vec<(usize, String)> {
    let source = fs::read_to_string(path).unwrap();
    let lines = source.lines().take_while(|line| *line != "#[cfg(test)]" || !source.contains("mod tests {"));
    lines.enumerate().map(|(index, line)| (index + 1, line.to_owned())).collect()
}

fn name(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap().to_string_lossy().into_owned()
}

/// The product's source files: the functions, and what they share that makes calls.
fn sources() -> Vec<PathBuf> {
    let root = workspace();
    let functions = ["dispatch", "endpoints", "ingest", "jobs", "replay"].map(|name| root.join("functions").join(name));
    let shared = ["aws", "jobs", "web"].map(|name| root.join("shared").join(name));
    rust_files(functions.into_iter().chain(shared).map(|package| package.join("src")).collect())
}

/// The Rust files in these directories and below them, without those of tests.
fn rust_files(mut left: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    while let Some(path) = left.pop() {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && stem != "tests" {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !["tests", "samples"].contains(&&*stem)
        {
            files.push(path);
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_leaves_a_function_but_through_the_one_door() {
        let mut doors = 0;
        for path in sources() {
            for (number, line) in product(&path) {
                let calls = [".send()", ".send_with(", ".execute(", "load_into", "into_paginator"];
                let sends = calls.iter().any(|call| line.contains(call));
                if sends && !line.trim_start().starts_with("//") {
                    let through = ["effect(", "call("].iter().any(|door| line.contains(door));
                    assert!(through, "{}:{number} goes past `effect`: {line}", name(&path));
                    doors += 1;
                }
            }
        }
        assert!(doors > 30, "only {doors} requests were found: this looks in the wrong place");
    }

    #[test]
    fn what_may_span_two_invocations_has_no_age_by_the_monotonic_clock_alone() {
        let mut found = 0;
        for path in sources() {
            let uses = |line: &str| line.contains("Instant") && !line.trim_start().starts_with("//");
            let Some((number, _)) = product(&path).into_iter().find(|(_, line)| uses(line)) else { continue };
            let file = name(&path);
            assert!(
                WITHIN_ONE_INVOCATION.iter().any(|listed| file.ends_with(listed)),
                "{file}:{number} uses `Instant`. Lambda freezes processes between two invocations: use \
                 `pombo_aws::clock::Clock`, or list the file if what it measures ends within one."
            );
            found += 1;
        }
        assert!(found > 10, "only {found} uses were found: this looks in the wrong place");
    }

    #[test]
    fn every_example_in_the_documentation_is_compiled_elsewhere() {
        // Documentation tests are off: cargo would run an empty one for each crate. So an example stands in `examples`.
        for path in rust_files(["functions", "shared", "infra"].map(|name| workspace().join(name)).to_vec()) {
            let source = fs::read_to_string(&path).unwrap();
            let opens = |line: &&str| line.trim_start().starts_with("//") && line.contains("```");
            let blocks: Vec<_> = source.lines().filter(opens).step_by(2).collect();
            let is_no_test = |block: &&str| ["```text", "```ignore"].iter().any(|kind| block.ends_with(kind));
            assert!(blocks.iter().all(is_no_test), "{}: {blocks:?}", name(&path));
        }
    }

    /// What is deployed is built for arm64 and for x86-64, and tested on one of them.
    #[test]
    fn no_line_of_what_is_deployed_is_for_one_processor() {
        let files = rust_files(["functions", "shared"].map(|name| workspace().join(name)).to_vec());
        assert!(files.len() > 100, "only {} files were found: this looks in the wrong place", files.len());
        for path in files {
            for (number, line) in product(&path) {
                let asks = ["target_arch", "target_feature", "core::arch", "std::arch", "asm!"];
                assert!(!asks.iter().any(|it| line.contains(it)), "{}:{number} {line}", name(&path));
            }
        }
    }

    #[test]
    fn crash_points_are_in_one_file_and_no_default() {
        let mentions = |path: &Path| fs::read_to_string(path).unwrap().contains("crash-points");
        let files: Vec<_> = sources().iter().filter(|path| mentions(path)).map(|path| name(path)).collect();
        assert_eq!(files, ["shared/aws/src/effect.rs"]);
        for manifest in [
            "functions/dispatch",
            "functions/endpoints",
            "functions/ingest",
            "functions/jobs",
            "functions/replay",
            "shared/aws",
        ] {
            let manifest = fs::read_to_string(workspace().join(manifest).join("Cargo.toml")).unwrap();
            assert!(manifest.contains("\ncrash-points = ["), "{manifest}");
            assert!(!manifest.contains("default = "), "{manifest}");
        }
        for build in ["infra/template.yaml", "samconfig.toml", "Cargo.toml"] {
            assert!(!mentions(&workspace().join(build)), "{build}");
        }
    }
    /// The files of the workspace whose names end so, but for what is built or installed.
    fn files(ending: &str) -> Vec<PathBuf> {
        let (mut left, mut found) = (vec![workspace()], Vec::new());
        while let Some(directory) = left.pop() {
            for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if path.is_dir() && !["target", ".git", ".aws-sam", "node_modules"].contains(&name.as_str()) {
                    left.push(path);
                } else if name.ends_with(ending) {
                    found.push(path);
                }
            }
        }
        found
    }

    /// The requirements of a list: each with its continued lines, without comments and options.
    fn requirements(list: &str) -> Vec<String> {
        let joined = list.replace("\\\n", " ");
        let lines = joined.lines().map(str::trim);
        lines.filter(|line| line.starts_with(|first: char| first.is_alphanumeric())).map(str::to_owned).collect()
    }

    #[test]
    fn every_python_package_that_is_installed_has_a_version_and_hashes() {
        let mut lists = 0;
        for input in files(".in") {
            let list = input.with_extension("txt");
            let text = fs::read_to_string(&list).unwrap_or_else(|_| panic!("{}: run .ci/lock", list.display()));
            let locked = requirements(&text);
            for wanted in requirements(&fs::read_to_string(&input).unwrap()) {
                let (package, rest) = wanted.split_once("==").unwrap_or_else(|| panic!("{wanted} has no version"));
                let (package, version) = (package.split('[').next().unwrap(), rest.split(' ').next().unwrap());
                let start = format!("{package}=={version}");
                let is_locked = locked.iter().any(|line| line.split(' ').next() == Some(start.as_str()));
                assert!(is_locked, "{} has no {start}: run .ci/lock", name(&list));
            }
            lists += 1;
        }
        assert!(lists >= 10, "only {lists} lists were found: this looks in the wrong place");

        let mut packages = 0;
        for list in files(".txt") {
            for requirement in requirements(&fs::read_to_string(&list).unwrap()) {
                if requirement.contains("==") || list.file_stem().unwrap().to_string_lossy().contains("requirements") {
                    let has_hash = requirement.contains("==") && requirement.contains(" --hash=sha256:");
                    assert!(has_hash, "{}: {requirement} has no version and hash", name(&list));
                    assert!(list.with_extension("in").is_file(), "{} has no .in file", name(&list));
                    packages += 1;
                }
            }
        }
        assert!(packages > 200, "only {packages} packages were found: this looks in the wrong place");
    }

    #[test]
    fn nothing_is_installed_with_pip_but_by_its_hash() {
        let texts = ["run", "lock", "drills", "fuzz", "audit"].map(|script| workspace().join(".ci").join(script));
        let mut installs = 0;
        for path in texts.into_iter().chain([workspace().join("README.md")]) {
            for line in fs::read_to_string(&path)
                .unwrap()
                .lines()
                .filter(|line| line.contains("pip\" install") || line.contains("pip install -"))
            {
                assert!(line.contains("--require-hashes"), "{}: {line}", name(&path));
                installs += 1;
            }
        }
        assert_eq!(installs, 3, "the lines that install look different now: look for them again");
    }
}
