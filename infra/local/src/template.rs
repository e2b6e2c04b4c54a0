//! `infra/template.yaml` as text. Its words stay as they are but for the values of `CodeUri`.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail, ensure};

use crate::paths;

/// The most that CloudFormation takes from a bucket.
const MAX_BYTES: usize = 1_000_000;

/// The template's text.
#[derive(Clone, Debug)]
pub(crate) struct Template(String);

impl Template {
    /// Reads the workspace's template.
    pub(crate) fn read() -> Result<Self> {
        let path = paths::workspace().join("infra/template.yaml");
        let text = fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        Ok(Self(text))
    }

    /// The crates that the functions are built from, each a directory in a `CodeUri`: what there is to build.
    pub(crate) fn functions(&self) -> Result<Vec<String>> {
        let functions: Vec<String> = self.0.lines().filter_map(code_uri).map(crate_of).collect();
        ensure!(!functions.is_empty(), "infra/template.yaml has no CodeUri");
        Ok(functions)
    }

    /// The template with each crate's directory replaced by the place of its archive.
    pub(crate) fn packaged(&self, places: &BTreeMap<String, String>) -> Result<String> {
        let mut text = String::with_capacity(self.0.len());
        for line in self.0.lines() {
            match code_uri(line) {
                None => text.push_str(line),
                Some(directory) => {
                    let Some(place) = places.get(&crate_of(directory)) else {
                        bail!("nothing was built for CodeUri: {directory}");
                    };
                    text.push_str(&line.replace(directory, place));
                }
            }
            text.push('\n');
        }
        ensure!(text.len() <= MAX_BYTES, "infra/template.yaml is over CloudFormation's {MAX_BYTES} bytes");
        Ok(text)
    }

    /// What a parameter is when it is not given.
    pub(crate) fn default_of(&self, parameter: &str) -> Option<&str> {
        let head = format!("  {parameter}:");
        self.0
            .lines()
            .skip_while(|line| *line != "Parameters:")
            .skip_while(|line| line.trim_end() != head)
            .skip(1)
            .take_while(|line| line.starts_with("    "))
            .find_map(|line| line.trim().strip_prefix("Default: "))
            .map(|value| value.trim_matches(['"', '\'']))
    }
}

/// The value, if the line is a `CodeUri`.
fn code_uri(line: &str) -> Option<&str> {
    line.trim().strip_prefix("CodeUri: ").map(str::trim)
}

/// A function's crate has its directory's name.
fn crate_of(directory: &str) -> String {
    Path::new(directory).file_name().map_or_else(|| directory.to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn every_code_uri_names_a_function_crate_of_the_workspace() {
        let functions = Template::read().unwrap().functions().unwrap();
        for function in &functions {
            assert!(paths::workspace().join("functions").join(function).join("Cargo.toml").is_file());
        }
        assert_eq!(functions.len(), 5);
    }

    #[test]
    fn packaging_changes_the_code_uris_and_nothing_else() {
        let template = Template::read().unwrap();
        let places = template.functions().unwrap();
        let places = places.into_iter().map(|name| (name.clone(), format!("s3://bucket/{name}.zip"))).collect();
        let packaged = template.packaged(&places).unwrap();
        assert_eq!(packaged.lines().count(), template.0.lines().count());
        for (before, after) in template.0.lines().zip(packaged.lines()) {
            match code_uri(before) {
                None => assert_eq!(before, after),
                Some(directory) => {
                    let name = directory.rsplit('/').next().unwrap();
                    assert_eq!(after, format!("      CodeUri: s3://bucket/{name}.zip"));
                }
            }
        }
    }

    #[test]
    fn a_function_that_was_not_built_is_an_error() {
        let error = Template::read().unwrap().packaged(&BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("nothing was built for CodeUri: ../functions/"), "{error}");
    }

    #[test]
    fn a_parameter_s_default_is_read() {
        let template = Template::read().unwrap();
        assert_eq!(template.default_of("Architecture"), Some("arm64"));
        assert_eq!(template.default_of("AllowLoopback"), Some("false"));
        assert_eq!(template.default_of("KmsKeyArn"), Some(""));
        assert_eq!(template.default_of("NoSuchParameter"), None);
    }
}
