//! What a room with a picture costs: callers that send H.264 and speak, one picture of 1280×720 for all of them.

use crate::load::Load;
use crate::options::{Figures, Options, median};
use serde_json::{Value, json};

/// Runs of the load generator against a fresh server each. CPU is of the whole process, ms a second.
pub(crate) fn room(options: &Options) -> Figures {
    let n: u16 = options.number("n", 4)?;
    let runs: usize = options.number("runs", 3)?;
    let secs: f64 = options.number("secs", 20.0)?;
    let layout: String = options.number("layout", "LAYOUT4".to_owned())?;
    let record: bool = options.number("record", false)?;
    let mut lines = Vec::new();
    for _ in 0..runs {
        let server = options.server(2 * n + 10, &[])?;
        let settings = json!({
            "mode": "VIDEO", "width": 1280, "height": 720, "framerate": 15, "bitrate": 1000, "layout": layout,
            "enable_recording": record,
        });
        server.api().create_room_with("900", u32::from(n), &settings);
        let video = ["--video", options.text("video")?];
        let mut line = Load::call(options, &server, n, 1, secs, &video)?.end()?;
        let skipped = server.api().metric(&["composer_pictures_skipped_total"]);
        line["pictures_skipped"] = json!(skipped);
        lines.push(line);
    }
    let all = |key: &str| lines.iter().filter_map(|l| l[key].as_f64()).collect::<Vec<f64>>();
    let of = |key: &str| median(all(key));
    Ok(vec![json!({
        "figure": "video",
        "video": options.text("video")?,
        "n": n,
        "layout": layout,
        "recorded": record,
        "cpu_ms_per_s": (of("server_cores") * 1000.0).round(),
        "cpu_ms_of_each_run": all("server_cores").iter().map(|c| json!((c * 1000.0).round())).collect::<Vec<Value>>(),
        "fps_leg": of("video_fps_leg"),
        "kbps_leg": of("video_kbps_leg"),
        "video_lost": of("video_lost"),
        "pictures_skipped": of("pictures_skipped"),
        "rss_end_kb": of("rss_end_kb"),
        "audible_pct": of("audible_pct"),
    })])
}
