//! A process that is frozen between two invocations, with connections open and with clients that grow old.

use pombo_aws::clock::HandClock;

use super::receiver::Receiver;
use super::reuse::{OK, first_then};
use super::*;

fn sender_by(hands: &HandClock) -> HttpSender {
    let tls = tls_config(RootCertStore::empty()).unwrap();
    HttpSender::with(AddressPolicy::local(), tls, always(&[IpAddr::V4(Ipv4Addr::LOCALHOST)]), LIMITS, hands.clock())
}

/// An invocation with one request.
async fn invocation(sender: &HttpSender, receiver: &Receiver) -> Outcome {
    sender.wake();
    let exchange = post(sender, &receiver.url(), SECOND).await;
    sender.rest();
    exchange.outcome
}

#[tokio::test]
async fn a_receiver_is_not_charged_for_a_connection_that_died_while_the_process_was_frozen() {
    for (how, time_passes) in HandClock::WAYS {
        // Something between the two has forgotten the connection: what is sent on it is never answered.
        let receiver = first_then(|peer| peer.closed()).await;
        let hands = HandClock::start();
        let sender = sender_by(&hands);
        assert_eq!(invocation(&sender, &receiver).await, succeeded(200));
        time_passes(&hands, 10 * SECOND);
        assert_eq!(invocation(&sender, &receiver).await, succeeded(200), "{how}");
        assert_eq!(receiver.connections(), 2, "{how}");
    }
}

#[tokio::test]
async fn connections_are_kept_over_a_pause_of_four_seconds_and_over_no_longer_one() {
    let (receiver, hands) = (Receiver::saying(OK).await, HandClock::start());
    let sender = sender_by(&hands);
    let millis = Duration::from_millis;
    for (pause, connections) in [(0, 1), (4000, 1), (4001, 2), (0, 2), (60_000, 3)] {
        hands.freeze(millis(pause));
        assert_eq!(invocation(&sender, &receiver).await, succeeded(200));
        assert_eq!(receiver.connections(), connections, "after {pause} ms");
    }
}

#[tokio::test]
async fn a_long_invocation_is_no_pause() {
    let (receiver, hands) = (Receiver::saying(OK).await, HandClock::start());
    let sender = sender_by(&hands);
    sender.wake();
    for _ in 0..3 {
        assert_eq!(post(&sender, &receiver.url(), SECOND).await.outcome, succeeded(200));
        hands.pass(10 * SECOND);
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn a_client_is_too_old_after_a_minute_by_whichever_clock_runs() {
    for (how, time_passes) in HandClock::WAYS {
        for (time, connections) in [(59 * SECOND, 1), (60 * SECOND, 2)] {
            let (receiver, hands) = (Receiver::saying(OK).await, HandClock::start());
            let sender = sender_by(&hands);
            for _ in 0..2 {
                assert_eq!(post(&sender, &receiver.url(), SECOND).await.outcome, succeeded(200));
                time_passes(&hands, time);
            }
            assert_eq!(receiver.connections(), connections, "{how} for {time:?}");
        }
    }
}
