//! Without the feature, a function is what it would be if there were no crash points.

use std::fs;

use local::Progress;

/// Where a function announces its points: a text that is in every program that does.
const MARKER: &[u8] = b"POST /crash-points";

/// Fails unless the functions are without crash points as they are usually built, and with them as they are built here.
pub async fn assert_only_ours_have_crash_points() {
    for crash_points in [false, true] {
        let programs = local::programs(crash_points, Progress::Quiet).await.unwrap();
        assert_eq!(programs.len(), 5);
        for (function, program) in programs {
            let bytes = fs::read(program).unwrap();
            let has = bytes.windows(MARKER.len()).any(|part| part == MARKER);
            assert_eq!(has, crash_points, "{function}");
        }
    }
}
