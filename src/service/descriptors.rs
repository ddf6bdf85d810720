//! File descriptors: each segment of the log takes one, and so does each connection.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process have as many file descriptors as its system allows: the usual limit of 1,024 is there for programs that could not
/// take more.
pub fn use_all_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it is refused, the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// How many of the `wanted` connections can be served: the log needs descriptors too, and has half of them.
pub(super) fn connections_max(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    let most = limit.map_or(wanted, |limit| (limit / 2).max(1));
    if wanted > most {
        tracing::warn!(
            "this process may have {} file descriptors: {most} connections are served at once, and not {wanted} (`ulimit -n` raises \
             the limit)",
            limit.unwrap_or(0),
        );
    }
    wanted.min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_half_of_the_descriptors_to_the_log() {
        use_all_descriptors();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
        let half = current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap() / 2);
        assert_eq!((connections_max(1), connections_max(half), connections_max(usize::MAX)), (1, half, half));
    }
}
