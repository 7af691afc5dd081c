//! Who may speak: what each action makes of a participant's mute and hand, for every control mode. One table, pure.
//!
//! A room is *led* when only the chairman gives the word: in MASTER, or while the room is muted.

use super::Control;

/// What bears on somebody's right to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The room's mode.
    pub(super) control: Control,
    /// The room is muted, by policy.
    pub(super) room_muted: bool,
    /// They are the chairman.
    pub(super) chairman: bool,
    /// Nobody hears them.
    pub(super) muted: bool,
    /// They asked for the word.
    pub(super) hand: bool,
}

/// What happens to somebody, or what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// They come in.
    Join,
    /// They key `*6`.
    Toggle,
    /// An operator or the chairman mutes them.
    Mute,
    /// An operator or the chairman unmutes them.
    Unmute,
    /// The room is muted. `room_muted` is true already.
    MuteRoom,
    /// The room's mute is lifted. `room_muted` is false already.
    UnmuteRoom,
    /// They become the chairman. `chairman` is true already.
    Lead,
    /// Somebody else became the chairman. `chairman` is false already.
    Yield,
}

/// What they are then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Voice {
    /// Nobody hears them.
    pub(super) muted: bool,
    /// They ask for the word.
    pub(super) hand: bool,
}

impl Standing {
    /// The transition table: the first line that fits. Laid out by hand, to be read as a table.
    #[rustfmt::skip]
    pub(super) fn after(self, act: Act) -> Voice {
        let led = self.room_muted || matches!(self.control, Control::Master);
        let voice = |muted, hand| Voice { muted, hand };
        match (act, self.chairman, led, self.muted) {
            //  act             chairman led    muted             muted, hand
            (Act::Mute,         _,       _,     _    ) => voice(true,  self.hand),
            (Act::Unmute,       _,       _,     _    ) => voice(false, false),
            (Act::Join,         false,   true,  _    ) => voice(true,  false),
            (Act::Join,         _,       _,     _    ) => voice(false, false),
            (Act::Toggle,       false,   true,  true ) => voice(true,  !self.hand),
            (Act::Toggle,       _,       _,     muted) => voice(!muted, false),
            (Act::MuteRoom,     true,    _,     muted) => voice(muted, self.hand),
            (Act::MuteRoom,     false,   _,     _    ) => voice(true,  self.hand),
            (Act::UnmuteRoom,   _,       _,     _    ) => voice(false, false),
            (Act::Lead,         _,       true,  _    ) => voice(false, false),
            (Act::Lead,         _,       false, muted) => voice(muted, false),
            (Act::Yield,        _,       _,     muted) => voice(muted || self.room_muted, self.hand),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTS: [Act; 8] =
        [Act::Join, Act::Toggle, Act::Mute, Act::Unmute, Act::MuteRoom, Act::UnmuteRoom, Act::Lead, Act::Yield];

    /// Every state there is.
    fn all() -> impl Iterator<Item = Standing> {
        (0..32u8).map(|bits| Standing {
            control: if bits & 1 == 0 { Control::Free } else { Control::Master },
            room_muted: bits & 2 != 0,
            chairman: bits & 4 != 0,
            muted: bits & 8 != 0,
            hand: bits & 16 != 0,
        })
    }

    /// The rules as the API's contract words them, one by one, for each state and action.
    #[test]
    fn every_state_and_action_follows_the_rules() {
        let mut walked = 0;
        for standing in all() {
            for act in ACTS {
                let after = standing.after(act);
                let is_master = standing.control == Control::Master;
                let case = format!("{standing:?} {act:?} -> {after:?}");
                match act {
                    Act::Join => {
                        // "newcomers enter muted"; "everyone but the chairman is muted, late joiners too".
                        assert_eq!(after.muted, !standing.chairman && (is_master || standing.room_muted), "{case}");
                        assert!(!after.hand, "{case}");
                    }
                    Act::Toggle => {
                        let may_unmute = standing.chairman || (!is_master && !standing.room_muted);
                        if standing.muted && !may_unmute {
                            // "raise or lower my hand"
                            assert!(after.muted && after.hand != standing.hand, "{case}");
                        } else {
                            assert!(after.muted != standing.muted && !after.hand, "{case}");
                        }
                    }
                    Act::Mute => assert!(after.muted, "{case}"),
                    // "An individual unmute inside a muted room lets that one speak."
                    Act::Unmute => assert!(!after.muted && !after.hand, "{case}"),
                    // "everyone but the chairman is muted"
                    Act::MuteRoom => assert_eq!(after.muted, !standing.chairman || standing.muted, "{case}"),
                    // "unmute lifts it and unmutes all"
                    Act::UnmuteRoom => assert!(!after.muted && !after.hand, "{case}"),
                    // The chairman of a muted or MASTER room is heard; a free one stays as they are.
                    Act::Lead => {
                        let is_led = is_master || standing.room_muted;
                        assert_eq!(after.muted, standing.muted && !is_led, "{case}");
                        assert!(!after.hand, "{case}");
                    }
                    // The former chairman of a muted room is one of everyone.
                    Act::Yield => assert_eq!(after.muted, standing.muted || standing.room_muted, "{case}"),
                }
                walked += 1;
            }
        }
        assert_eq!(walked, 256);
    }

    #[test]
    fn a_hand_is_only_up_while_one_is_muted() {
        for standing in all().filter(|standing| standing.muted || !standing.hand) {
            for act in ACTS {
                let after = standing.after(act);
                assert!(after.muted || !after.hand, "{standing:?} {act:?} -> {after:?}");
            }
        }
    }
}
