//! A WebRTC peer on the `webrtc` crate: another implementation of ICE, DTLS, SRTP and SDP than the server's. It speaks a tone in
//! Opus and keeps what it hears. A thread of its own runs what the crate needs a runtime for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use webrtc::api::APIBuilder;
use webrtc::api::interceptor_registry::register_default_interceptors;
use webrtc::api::media_engine::{MIME_TYPE_OPUS, MediaEngine};
use webrtc::api::setting_engine::SettingEngine;
use webrtc::interceptor::registry::Registry;
use webrtc::media::Sample;
use webrtc::peer_connection::RTCPeerConnection;
use webrtc::peer_connection::peer_connection_state::RTCPeerConnectionState;
use webrtc::peer_connection::sdp::session_description::RTCSessionDescription;
use webrtc::rtp_transceiver::rtp_codec::RTCRtpCodecCapability;
use webrtc::track::track_local::track_local_static_sample::TrackLocalStaticSample;

const RATE_HZ: u32 = 48_000;
const TICK: Duration = Duration::from_millis(20);
const FRAME: usize = 960;
/// For what the crate does by itself: gathering, closing.
const PATIENCE: Duration = Duration::from_secs(20);

/// One peer. Dropped, it closes its session.
pub struct WebrtcPeer {
    runtime: Runtime,
    connection: Arc<RTCPeerConnection>,
    track: Arc<TrackLocalStaticSample>,
    offer: String,
    heard: Arc<Mutex<Vec<i16>>>,
}

impl WebrtcPeer {
    /// With an offer of one Opus line, both ways.
    ///
    /// # Panics
    /// When the crate cannot make one: a test cannot go on.
    pub fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("webrtc-peer").enable_all().build();
        let runtime = runtime.expect("a runtime");
        let heard: Arc<Mutex<Vec<i16>>> = Arc::default();
        let (connection, track, offer) = runtime.block_on(offered(Arc::clone(&heard)));
        Self { runtime, connection, track, offer, heard }
    }

    /// Its offer, with all its candidates.
    pub fn offer(&self) -> &str {
        &self.offer
    }

    /// Takes the server's answer and says this tone from now on.
    ///
    /// # Errors
    /// When it does not understand the answer.
    pub fn accept(&self, answer: &str, hz: f64) -> Result<(), String> {
        let answer = RTCSessionDescription::answer(answer.to_owned()).map_err(|e| e.to_string())?;
        let taken = self.runtime.block_on(self.connection.set_remote_description(answer));
        taken.map_err(|e| e.to_string())?;
        let track = Arc::clone(&self.track);
        self.runtime.spawn(async move {
            let mut encoder =
                opus::Encoder::new(RATE_HZ, opus::Channels::Mono, opus::Application::Voip).expect("an encoder");
            let second = crate::tone::sine(RATE_HZ, hz, -20.0, RATE_HZ as usize);
            let mut every = tokio::time::interval(TICK);
            for frame in second.chunks(FRAME).cycle() {
                every.tick().await;
                let data = encoder.encode_vec(frame, 1_000).expect("encode").into();
                let sample = Sample { data, duration: TICK, ..Sample::default() };
                if track.write_sample(&sample).await.is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    /// ICE and DTLS are through.
    pub fn is_connected(&self) -> bool {
        self.connection.connection_state() == RTCPeerConnectionState::Connected
    }

    /// The last half second of what it heard, 48 kHz mono; `None` while it heard less.
    pub fn last_heard(&self) -> Option<Vec<i16>> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        Some(heard.get(heard.len().checked_sub(RATE_HZ as usize / 2)?..)?.to_vec())
    }
}

impl Default for WebrtcPeer {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for WebrtcPeer {
    fn drop(&mut self) {
        let closing = self.connection.close();
        // One that does not close ends with its runtime.
        let _ = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, closing).await });
    }
}

type Offered = (Arc<RTCPeerConnection>, Arc<TrackLocalStaticSample>, String);

async fn offered(heard: Arc<Mutex<Vec<i16>>>) -> Offered {
    let mut media = MediaEngine::default();
    media.register_default_codecs().expect("codecs");
    let registry = register_default_interceptors(Registry::new(), &mut media).expect("interceptors");
    let mut settings = SettingEngine::default();
    settings.set_include_loopback_candidate(true);
    settings.set_ip_filter(Box::new(|ip| ip.is_loopback() && ip.is_ipv4()));
    let api = APIBuilder::new().with_media_engine(media).with_interceptor_registry(registry);
    let api = api.with_setting_engine(settings).build();
    let connection = Arc::new(api.new_peer_connection(Default::default()).await.expect("a connection"));
    let codec = RTCRtpCodecCapability { mime_type: MIME_TYPE_OPUS.to_owned(), ..RTCRtpCodecCapability::default() };
    let track = Arc::new(TrackLocalStaticSample::new(codec, "audio".to_owned(), "peer".to_owned()));
    let sender = connection.add_track(Arc::clone(&track) as _).await.expect("a line for the track");
    // Reports have to be read, or nothing behind them is.
    tokio::spawn(async move { while sender.read_rtcp().await.is_ok() {} });
    connection.on_track(Box::new(move |remote, _, _| {
        let heard = Arc::clone(&heard);
        Box::pin(async move {
            tokio::spawn(async move {
                let mut decoder = opus::Decoder::new(RATE_HZ, opus::Channels::Mono).expect("a decoder");
                let mut pcm = [0i16; 5_760];
                while let Ok((packet, _)) = remote.read_rtp().await {
                    if let Ok(n) = decoder.decode(&packet.payload, &mut pcm, false) {
                        heard.lock().unwrap_or_else(PoisonError::into_inner).extend(&pcm[..n]);
                    }
                }
            });
        })
    }));
    let offer = connection.create_offer(None).await.expect("an offer");
    let mut gathered = connection.gathering_complete_promise().await;
    connection.set_local_description(offer).await.expect("an own description");
    let _ = tokio::time::timeout(PATIENCE, gathered.recv()).await.expect("candidates are gathered");
    let offer = connection.local_description().await.expect("an own description").sdp;
    (connection, track, offer)
}
