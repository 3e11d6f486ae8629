//! Mistakes that can be planted into a bond, to see them found. How: [`mod@holdfast_core::defects`].

holdfast_core::defects! {
    ThresholdOffByOne "threshold-off-by-one"
        "An active member may miss one probe more than allowed.",
        "failover happens inside the monitor's window.";
    DownDelayIgnored "downdelay-ignored"
        "A link is given up at the first look that finds it gone.",
        "failover happens inside the monitor's window.";
    UpDelayWithNoneUp "updelay-with-none-up"
        "The up delay is waited for although no member is usable.",
        "service returns as soon as any member can give it.";
    ReplyOnWrongMember "reply-on-wrong-member"
        "An answer counts for the active member, wherever it was received.",
        "a failure that the monitor can see is seen.";
    AnyFrameValidates "any-frame-validates"
        "With validation, frames of strangers count as answers.",
        "a failure that the monitor can see is seen.";
    NoAnnouncementOnFailback "no-announcement-on-failback"
        "Neighbours are not told when the primary takes over again.",
        "neighbours hear of every change of the active member.";
    OneAnnouncementShort "one-announcement-short"
        "One announcement less than asked for.",
        "neighbours hear of every change of the active member.";
    BothActive "both-active"
        "The old active member stays a party to traffic.",
        "no frame is delivered twice.";
    BackupsHandUp "backups-hand-up"
        "Frames received on inactive members go up, too.",
        "no frame is delivered twice.";
    CarrierStays "carrier-stays"
        "The bond keeps its carrier when its last member fails.",
        "the bond's carrier says whether it can be used.";
    HashOverAll "hash-over-all"
        "Frames are hashed over all members, whether they are up or not.",
        "service stays as long as any member can give it.";
    RateIgnored "rate-ignored"
        "LACPDUs come at the actor's own rate, not at the partner's.",
        "a partner never expires for lack of LACPDUs.";
    ExpiredStillDistributes "expired-still-distributes"
        "A port whose partner fell silent goes on distributing.",
        "frames go only where a partner collects them.";
    PrimaryForgotten "primary-forgotten"
        "A primary that comes back does not take over.",
        "the primary is active whenever its policy says so.";
}
