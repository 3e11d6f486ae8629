//! Planted defects: what an engine that loses data would do wrong, by name.
//!
//! A simulator that finds nothing may mean a good engine or a poor simulator. So the engine can be
//! built with one of these mistakes in it, and whoever tests it must notice. Which mistake is
//! chosen by a *type*: [`Array`](crate::Array) is generic over [`Defects`], the one place where a
//! mistake would be made asks `self.defects.has(…)`, and [`Sound`], which every real array is made
//! of, has no size and answers no at compile time, so that nothing of it is left in its code.

holdfast_core::defects! {
    // Durability.
    AckBeforeFlush "ack-before-flush"
        "A flush is answered although no member has been asked to flush.",
        "what was flushed survives a power cut.";
    FlushAsksOneMember "flush-asks-one-member"
        "A flush goes to the first member that needs it and to no other.",
        "what was flushed survives a power cut.";
    FlushCoversLateWrites "flush-covers-late-writes"
        "A member's flush counts for the writes that it took while it was flushing.",
        "what was flushed survives a power cut.";
    CachesForgottenAtStart "caches-forgotten-at-start"
        "What a killed process left in the members' caches is not flushed by the next one.",
        "what a reader has seen after a restart survives a power cut once flushed.";
    FuaNotForCopies "fua-not-for-copies"
        "A write that must be durable when answered goes to the copies as an ordinary one.",
        "a write with FUA survives a power cut.";
    FuaNotForParity "fua-not-for-parity"
        "A write that must be durable when answered does not make its parity durable.",
        "a write with FUA survives a power cut, also on a slot that only parity stands for.";
    UpdateWithoutFlush "update-without-flush"
        "Superblocks call the array clean, or a rebuild advanced, before the caches are flushed.",
        "what the metadata says is true of durable data.";
    StopWithoutFlush "stop-without-flush"
        "An array stops with writes in its members' caches.",
        "everything is durable after a stop in good order.";

    // Metadata.
    AnswerBeforeMetadata "answer-before-metadata"
        "A write that a member missed is answered before the superblocks say so.",
        "a member that missed an acknowledged write is never read.";
    DirtyMarkNotAwaited "dirty-mark-not-awaited"
        "Writes are issued before the superblocks call the array dirty.",
        "an unclean stop is noticed, and copies and parity are made to agree.";
    BitNotAwaited "bit-not-awaited"
        "Writes are issued before their region's bit in the bitmap is durable.",
        "after an unclean stop the bitmap names every region that may disagree.";
    BitClearedTooEarly "bit-cleared-too-early"
        "A region's bit is cleared as soon as its writes are answered, flushed or not.",
        "after an unclean stop the bitmap names every region that may disagree.";
    BitsClearedWhileDegraded "bits-cleared-while-degraded"
        "Bits are cleared although a member is missing, who will miss what they marked.",
        "a member that comes back gets all that it missed.";
    EventsNotBumped "events-not-bumped"
        "An update writes the superblocks without counting.",
        "members that missed an update are told from those that did not.";
    StaleMemberAccepted "stale-member-accepted"
        "A member that missed updates serves its slot as if it had not.",
        "a stale member is never read.";
    ResyncForgotten "resync-forgotten"
        "An array that was not stopped cleanly is assembled as if it had been.",
        "after an unclean stop copies and parity are made to agree.";
    InterruptedResyncForgotten "interrupted-resync-forgotten"
        "A resync that is interrupted counts as done.",
        "copies and parity agree wherever no resync is due.";
    BadBlocksNotRecorded "bad-blocks-not-recorded"
        "A block that could not be written does not enter the bad-block log.",
        "what a member does not hold is not read from it.";
    BadBlockLogNotWritten "bad-block-log-not-written"
        "The bad-block log is kept in memory and not written to the member.",
        "what a member does not hold is not read from it, after a restart either.";
    WriteErrorSwallowed "write-error-swallowed"
        "A member that does not take a write stays in service as if it had.",
        "a member that missed an acknowledged write is never read.";

    // Where data goes.
    CopyOnWrongDisk "copy-on-wrong-disk"
        "A mirror's second copy of a chunk goes to the disk after the right one.",
        "every copy is where the layout says.";
    ParityRotationOffByOne "parity-rotation-off-by-one"
        "Parity rotates one stripe ahead of the layout.",
        "every block is where the layout says.";
    QNotModified "q-not-modified"
        "Read-modify-write brings P up to date and leaves Q.",
        "any two members may be lost.";
    ParityNotWritten "parity-not-written"
        "A reconstruct-write computes parity and does not write it.",
        "any one member may be lost.";
    DiscardMissesCopies "discard-misses-copies"
        "A discard goes to the first copy only.",
        "copies agree.";
    DiscardBreaksParity "discard-breaks-parity"
        "A discard of a stripe leaves its parity as it was.",
        "parity is what the data says.";
    WritesUnordered "writes-unordered"
        "Writers do not exclude each other.",
        "members agree on which of two overlapping writes came last.";
    LateWriteTakenForDone "late-write-taken-for-done"
        "A write that misses its deadline counts as written, and lands whenever it does.",
        "no late write undoes a newer one.";

    // Reading.
    ReadFromRebuilding "read-from-rebuilding"
        "Reads are balanced onto a member that is still being rebuilt.",
        "nothing is read from where it has not been rebuilt.";
    ReturnedMemberRead "returned-member-read"
        "A member that comes back is read before what it missed has been copied.",
        "a stale member is never read.";
    ReplacementReadEarly "replacement-read-early"
        "A replacement is read in place of the old member before it is complete.",
        "nothing is read from where it has not been rebuilt.";
    ReadsSpreadInDoubt "reads-spread-in-doubt"
        "Reads are balanced over copies that an unclean stop may have left different.",
        "a block does not change without a write.";

    // Passes.
    LastBlockLeftOut "last-block-left-out"
        "A pass ends one block before the array does.",
        "a rebuilt member holds everything.";
    PassWithoutLock "pass-without-lock"
        "A pass takes no locks: what it writes may be older than what was written meanwhile.",
        "a rebuilt member holds what was written during the rebuild.";
    RebuildMissesWrites "rebuild-misses-writes"
        "Writes do not go to a member that is being rebuilt.",
        "a rebuilt member holds what was written during the rebuild.";
    RebuildSkipsCleanRegions "rebuild-skips-clean-regions"
        "A rebuild copies only what the bitmap calls dirty, as a resync may.",
        "a rebuilt member holds everything.";
    RebuildForgetsParity "rebuild-forgets-parity"
        "A rebuild restores data and leaves parity blocks out.",
        "a rebuilt member holds everything.";
    RecoveryOffsetAhead "recovery-offset-ahead"
        "The superblock of a member that is being rebuilt does not say how far it is.",
        "nothing is read from where it has not been rebuilt.";
    ReplacementMissesWrites "replacement-misses-writes"
        "Writes go to the old member only while a replacement is filled.",
        "a rebuilt member holds what was written during the rebuild.";
    OldMemberDroppedEarly "old-member-dropped-early"
        "A replacement takes the slot when it has been filled half way.",
        "a rebuilt member holds everything.";
    SpareUsedTwice "spare-used-twice"
        "A spare that is being rebuilt for one slot takes the next one too.",
        "a spare serves one slot.";
    ReadErrorEndsRebuild "read-error-ends-rebuild"
        "One unreadable sector ends a whole rebuild.",
        "an unreadable sector costs its own block, at most.";
    ReadErrorCostsWindow "read-error-costs-window"
        "A window in which a sector cannot be read is not tried in smaller parts.",
        "an unreadable sector costs its own block, at most.";
    ScrubTakesHolesForZeros "scrub-takes-holes-for-zeros"
        "A scrub takes an unreadable block for zeros and makes it and parity so.",
        "a scrub heals what it can and harms nothing.";
    ScrubRewritesParity "scrub-rewrites-parity"
        "A check writes new parity where it was only to compare.",
        "a check changes nothing that can be read.";
    ResyncFromLastCopy "resync-from-last-copy"
        "A resync makes copies agree with another one than readers were given.",
        "a block does not change without a write.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_engine_carries_nothing() {
        use crate::Array;
        const { assert!(!Sound::PLANTED && size_of::<Sound>() == 0) };
        let (sound, planted) = (size_of::<Array>(), size_of::<Array<Defect>>());
        assert!(sound < planted, "{sound} bytes, with a defect {planted}");
    }
}
