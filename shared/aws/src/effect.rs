//! The one door to the world outside: every AWS call and every request to a receiver goes through [`effect`].
//!
//! Between two of them a process can die, and the protocol has to bear it. With the feature `crash-points`, which only the
//! tests in `tests/crash` switch on, it dies there when it is told to. Without it, as everywhere else, an effect is its
//! request and nothing more.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::error::AwsError;

/// Carries out a request to another machine. `call` names it: the service, the operation, and on what.
#[cfg(not(feature = "crash-points"))]
pub fn effect<F: Future>(_call: &str, request: F) -> impl Future<Output = F::Output> {
    request
}

/// Carries out a request to another machine, between two points where the process may be told to die.
#[cfg(feature = "crash-points")]
pub async fn effect<F: Future>(call: &str, request: F) -> F::Output {
    points::reach(call, "before");
    // In a box, or the types of the futures around it would nest deeper than the compiler follows.
    let answer = Box::pin(request).await;
    points::reach(call, "after");
    answer
}

/// Makes the AWS call that `name` names, such as `dynamodb:PutItem Events`. For calls whose errors mean nothing to the
/// caller.
pub(crate) async fn call<T, E>(name: &str, request: impl Future<Output = Result<T, SdkError<E>>>) -> Result<T, AwsError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    effect(name, request).await.map_err(|error| AwsError::new(name, error))
}

#[cfg(feature = "crash-points")]
mod points {
    use std::backtrace::Backtrace;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    /// Says where the process is, by the async functions that it is in, and dies there if the answer is `die`.
    pub(super) fn reach(call: &str, moment: &str) {
        let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
        let at = format!("{function}\n{moment} {call}\n{}", Backtrace::force_capture());
        if ask(&at).is_some_and(|answer| answer.ends_with("die")) {
            std::process::abort();
        }
    }

    /// Asks whoever stands between the function and AWS; `None` when nobody does. The process waits, as it has to: what
    /// would go on meanwhile would be behind the point.
    fn ask(at: &str) -> Option<String> {
        let url = std::env::var("AWS_ENDPOINT_URL").ok()?;
        let host = url.strip_prefix("http://")?;
        let mut stream = TcpStream::connect(host).ok()?;
        let length = at.len();
        let head = format!(
            "POST /crash-points HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(format!("{head}{at}").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}
