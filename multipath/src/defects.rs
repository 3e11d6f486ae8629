//! Mistakes that can be planted into a map, to see them found. How: [`mod@holdfast_core::defects`].

holdfast_core::defects! {
    NaiveFailover "naive-failover"
        "Newer writes do not wait for older ones that were given up: the ghost write.",
        "what was acknowledged is not replaced by something older.";
    GivenUpIsResolved "given-up-is-resolved"
        "A write that was given up counts as answered.",
        "what was acknowledged is not replaced by something older.";
    ErrorIsAnAnswer "error-is-an-answer"
        "A lost connection counts as the answer to what was on its way.",
        "what was acknowledged is not replaced by something older.";
    FenceCoversNewSession "fence-covers-new-session"
        "The end of an old session is taken as that of the present one, too.",
        "what was acknowledged is not replaced by something older.";
    QueueForgottenAtFailover "queue-forgotten-at-failover"
        "What was on a path when it failed is not sent again.",
        "every request is answered.";
    LateAnswerToAnybody "late-answer-to-anybody"
        "The answer to a request given up is taken for that of the oldest request waiting.",
        "a reader sees what was written there.";
    CheckerTrustedOverData "checker-trusted-over-data"
        "A good check brings a path back however its requests have ended.",
        "a path is used again only when requests like those that failed succeed.";
    FlushOnePathOnly "flush-one-path-only"
        "A flush goes to one path, though others took writes.",
        "what was flushed survives a power cut.";
    UnreachableCacheForgotten "unreachable-cache-forgotten"
        "A flush passes over writes in the cache behind a failed path.",
        "what was flushed survives a power cut.";
    FailbackFlaps "failback-flaps"
        "A better group takes over before its paths are proven to work.",
        "a group takes over only when its paths are proven to work.";
    IdentityNotRechecked "identity-not-rechecked"
        "A path that comes back is not asked whose disk it leads to.",
        "nothing is written to another disk.";
    NoPathNeverEnds "no-path-never-ends"
        "A path that only looks good restarts the time for which requests are queued.",
        "without a path requests fail after the time that was set.";
    NeighboursDisturbed "neighbours-disturbed"
        "One path's failure fails its whole group.",
        "a path that works stays in use, whatever others do.";
    DeadlineForgottenOnRetry "deadline-forgotten-on-retry"
        "A request that is sent again has no deadline any more.",
        "a request waits no longer than the deadlines say.";
}
