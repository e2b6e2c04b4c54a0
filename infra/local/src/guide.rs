//! The text that `local` prints when the stack is up: lines to paste into another terminal.

use crate::{options::Options, paths, stack::LocalStack};

/// The receiver in the printed calls, and in the examples of README.md.
const LOCAL_RECEIVER: &str = "http://127.0.0.1:3000/hooks";

/// The receiver in the printed calls where the stack refuses endpoints on this machine.
const PUBLIC_RECEIVER: &str = "https://YOUR-RECEIVER/hooks";

/// The lines to paste: first the variables that the examples of README.md use, then calls that use them.
pub(crate) fn guide(stack: &LocalStack, options: &Options) -> String {
    format!(
        r#"
Pombo is up. Paste these lines into another terminal; the calls below and the examples of README.md use them:

{exports}

Register an endpoint (its URL is your receiver's):

curl -H "authorization: Bearer $ADMIN_KEY" "$ENDPOINTS_URL/v1/endpoints" \
  -d '{{"url": "{receiver}", "event_types": ["student.*"]}}'

Post an event to it:

curl -H "authorization: Bearer $INGEST_KEY" "$INGEST_URL/v1/events" \
  -d '{{"type": "student.created", "data": {{"name": "Ada"}}}}'

See the latest deliveries that did not succeed:

curl -H "authorization: Bearer $OPS_KEY" "$REPLAY_URL/v1/deliveries"

The console, where you sign in with one of the keys: {console}/
{end}"#,
        exports = exports(stack),
        receiver = receiver(options),
        console = stack.urls.replay,
        end = end(stack, options),
    )
}

/// The URL of a receiver that the stack accepts.
fn receiver(options: &Options) -> &'static str {
    if options.endpoint_url.is_none() && !options.strict { LOCAL_RECEIVER } else { PUBLIC_RECEIVER }
}

/// The stack's URLs and keys as lines for a shell. None of them has a character that a shell would change.
fn exports(stack: &LocalStack) -> String {
    let LocalStack { urls, keys, .. } = stack;
    let variables = [
        ("INGEST_URL", &urls.ingest),
        ("ENDPOINTS_URL", &urls.endpoints),
        ("REPLAY_URL", &urls.replay),
        ("INGEST_KEY", &keys.ingest),
        ("OPS_KEY", &keys.ops),
        ("ADMIN_KEY", &keys.admin),
    ];
    variables.map(|(name, value)| format!("export {name}={value}")).join("\n")
}

/// How the stack ends.
fn end(stack: &LocalStack, options: &Options) -> String {
    match stack.emulator() {
        None => format!("The stack {} stays where it is.", stack.name),
        Some(emulator) if options.keep_data => format!(
            "Ctrl-C stops the stack; the next start with --keep-data on this port finds its data again, in {}",
            paths::data(&stack.name, emulator.port()).display()
        ),
        Some(_) => {
            "Ctrl-C stops the stack and forgets its data; with --keep-data the next start finds it again.".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use clap::Parser;

    use super::*;

    #[test]
    fn the_printed_receiver_is_on_this_machine_only_where_the_stack_lets_it_be() {
        let receiver = |arguments: &[&str]| receiver(&Options::parse_from([&["local"], arguments].concat()));
        assert_eq!(receiver(&[]), LOCAL_RECEIVER);
        assert_eq!(receiver(&["--strict"]), PUBLIC_RECEIVER);
        assert_eq!(receiver(&["--endpoint-url", "aws"]), PUBLIC_RECEIVER);
        assert_eq!(receiver(&["--endpoint-url", "http://localhost:4566"]), PUBLIC_RECEIVER);
    }
}
