//! What every encoder asks before a picture and tells after it: whether it is made, as a keyframe or not, and how coarsely. Runs on
//! the composer's thread; arithmetic only, it does not know the libraries.

use std::time::Duration;

use super::EncoderSettings;
use super::debt::Debt;
use super::rate::{RateControl, Scale};
use crate::video::access_unit::AccessUnit;
use crate::video::picture::PictureView;

/// How a picture is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// On the codec's own scale.
    pub(super) quantizer: u8,
    pub(super) keyframe: bool,
}

/// Of one stream.
#[derive(Debug)]
pub(super) struct Regulator {
    rate: RateControl,
    debt: Debt,
    keyframe_owed: bool,
    /// The library has seen no picture yet, and will make a keyframe of the first whether it is asked or not.
    begins: bool,
}

impl Regulator {
    /// The first picture is a keyframe.
    pub(super) fn new(scale: Scale) -> Self {
        Self { rate: RateControl::new(scale), debt: Debt::default(), keyframe_owed: true, begins: true }
    }

    /// What is made of the picture that is due at `at`; `None` when the rate leaves no room for it. A keyframe that was asked for
    /// is then still owed.
    pub(super) fn plan(
        &mut self,
        picture: &PictureView<'_>,
        at: Duration,
        keyframe: bool,
        settings: EncoderSettings,
    ) -> Option<Plan> {
        self.keyframe_owed |= keyframe;
        self.debt.pay(at);
        let keyframe = self.keyframe_owed && self.debt.allows(true);
        if !keyframe && (self.begins || !self.debt.allows(false)) {
            return None;
        }
        let quantizer = self.rate.choose(picture, keyframe, &self.debt, settings);
        Some(Plan { quantizer, keyframe })
    }

    /// It was made as planned, and this came of it.
    pub(super) fn made(&mut self, unit: &AccessUnit, settings: EncoderSettings) {
        self.keyframe_owed &= !unit.is_keyframe;
        self.begins = false;
        self.rate.learn(unit.bytes.len(), unit.is_keyframe);
        self.debt.add(unit.bytes.len(), unit.is_keyframe, settings.bitrate);
    }

    /// The library begins anew. What was learnt and what is owed stays.
    pub(super) const fn restart(&mut self) {
        (self.keyframe_owed, self.begins) = (true, true);
    }
}
