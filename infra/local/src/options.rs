//! The command line of `local`.

use clap::Parser;

use crate::{progress::Progress, stack::LocalOptions};

/// The port that emulators of AWS listen on.
const PORT: u16 = 4566;

/// The stack's name.
const STACK: &str = "pombo";

/// Runs Pombo on this machine: starts an emulator of AWS, deploys infra/template.yaml to it, makes keys, and shows one event
/// delivered and one retried. It stays up until Ctrl-C.
#[derive(Clone, Debug, Parser)]
#[command(name = "local")]
pub struct Options {
    /// Deploy to this endpoint instead of an emulator of our own: the URL of another emulator (`LocalStack`), or `aws` for the
    /// account of your AWS credentials. The functions are built with cargo-lambda; there is no demo.
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,

    /// The emulator's port on 127.0.0.1 (0: any that is free) [default: 4566].
    #[arg(long, value_name = "PORT", conflicts_with = "endpoint_url")]
    pub port: Option<u16>,

    /// Keep the data, and the keys, for the next start on the same port.
    #[arg(long, conflicts_with = "endpoint_url")]
    pub keep_data: bool,

    /// Do not show the demo.
    #[arg(long)]
    pub no_demo: bool,

    /// Write one line of JSON to standard output when the stack is ready; the rest goes to standard error.
    #[arg(long)]
    pub json: bool,

    /// Refuse endpoints on 127.0.0.1, as a stack in AWS does. There is no demo.
    #[arg(long)]
    pub strict: bool,

    /// The stack's name.
    #[arg(long, value_name = "NAME", default_value = STACK)]
    pub stack: String,

    /// A parameter of infra/template.yaml; may be given more than once.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parameter)]
    pub parameter: Vec<(String, String)>,
}

impl Options {
    /// Where progress goes.
    #[must_use]
    pub fn progress(&self) -> Progress {
        if self.json { Progress::Stderr } else { Progress::Stdout }
    }

    /// Whether the demo is shown. Its receiver is on 127.0.0.1, where neither another emulator nor a strict stack gets.
    #[must_use]
    pub fn demo(&self) -> bool {
        !self.no_demo && !self.strict && self.endpoint_url.is_none()
    }

    /// The stack to start.
    #[must_use]
    pub fn stack(&self) -> LocalOptions {
        LocalOptions {
            name: self.stack.clone(),
            port: self.port.unwrap_or(PORT),
            parameters: self.parameter.clone(),
            strict: self.strict,
            keep_data: self.keep_data,
            progress: self.progress(),
            ..LocalOptions::default()
        }
    }
}

fn parameter(argument: &str) -> Result<(String, String), String> {
    let (name, value) = argument.split_once('=').ok_or("it is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once(&"local").chain(arguments))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn without_options_it_is_the_whole_show_on_the_usual_port() {
        let options = parse(&[]).unwrap();
        assert!(options.demo());
        assert_eq!(options.progress(), Progress::Stdout);
        let stack = options.stack();
        assert_eq!((stack.port, stack.name.as_str(), stack.keep_data, stack.strict), (4566, "pombo", false, false));
    }

    #[test]
    fn a_script_has_standard_output_to_itself() {
        assert_eq!(parse(&["--json"]).unwrap().progress(), Progress::Stderr);
    }

    #[test]
    fn there_is_no_demo_where_its_receiver_could_not_be_reached() {
        for arguments in [&["--no-demo"][..], &["--strict"], &["--endpoint-url", "http://localhost:4566"]] {
            assert!(!parse(arguments).unwrap().demo(), "{arguments:?}");
        }
    }

    #[test]
    fn parameters_are_passed_on_whole() {
        let options = parse(&["--parameter", "IngestAuth=AWS_IAM", "--parameter", "KmsKeyArn=a=b"]).unwrap();
        let expected =
            [("IngestAuth", "AWS_IAM"), ("KmsKeyArn", "a=b")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(options.stack().parameters, expected);
        assert!(parse(&["--parameter", "IngestAuth"]).is_err());
    }

    #[test]
    fn options_of_our_own_emulator_exclude_another_one() {
        assert!(parse(&["--endpoint-url", "aws", "--port", "1"]).is_err());
        assert!(parse(&["--endpoint-url", "aws", "--keep-data"]).is_err());
    }
}
