//! The figures, drawn.

use std::path::Path;

use bps_service::exit::AnyError;
use clap::ValueEnum;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::contender::Contender;
use crate::measured::Spread;
use crate::workload::Workload;
use crate::{latency, throughput};

const COLOURS: [RGBColor; 5] = [
    RGBColor(31, 97, 165),
    RGBColor(120, 176, 222),
    RGBColor(196, 98, 16),
    RGBColor(240, 178, 110),
    RGBColor(150, 150, 150),
];
const FONT: &str = "sans-serif";

/// Draws who decides how much.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn throughput(file: &Path, results: &[throughput::Result]) -> Result<(), AnyError> {
    let contenders = Contender::RACING;
    let of = |workload: Workload, who: Contender| {
        let found = results
            .iter()
            .find(|r| r.is_standard() && (r.heat.workload, r.heat.who) == (workload, who))?;
        let Spread { min, median, max } = found.records_per_s;
        Some([min, median, max].map(|rate| rate / 1_000.0))
    };
    let groups = Workload::value_variants().iter().map(|workload| {
        let bars = contenders.iter().map(|who| of(*workload, *who)).collect();
        (workload.title().to_owned(), bars)
    });
    let names: Vec<String> = contenders.iter().map(|who| who.title().to_owned()).collect();
    bars(file, "thousand records decided a second", &names, groups.collect())
}

/// Draws how late results come.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn latency(file: &Path, results: &[latency::Result]) -> Result<(), AnyError> {
    let contenders = [Contender::Ours, Contender::KafkaStreams];
    let mut rates: Vec<u64> = results.iter().map(|r| r.rate).collect();
    rates.sort_unstable();
    rates.dedup();
    let groups = rates.into_iter().map(|rate| {
        let bars = contenders.iter().flat_map(|who| {
            let found = results.iter().find(|r| (r.who, r.rate) == (*who, rate));
            let each = |s: Spread| [s.min, s.median, s.max];
            [found.map(|r| each(r.p50)), found.map(|r| each(r.p99))]
        });
        (format!("{rate} a second"), bars.collect())
    });
    let title = |who: &Contender| ["p50", "p99"].map(|part| format!("{}, {part}", who.title()));
    let names: Vec<String> = contenders.iter().flat_map(title).collect();
    bars(file, "from creation to the committed result, ms", &names, groups.collect())
}

/// What an axis has at its lines.
fn whole(number: &f64) -> String {
    format!("{number:.0}")
}

/// Bars in groups, each from nothing to its median, with a line from the lowest to the highest.
fn bars(
    file: &Path,
    title: &str,
    names: &[String],
    groups: Vec<(String, Vec<Option<[f64; 3]>>)>,
) -> Result<(), AnyError> {
    let groups: Vec<_> =
        groups.into_iter().filter(|(_, bars)| bars.iter().any(Option::is_some)).collect();
    // As far apart as one bar is wide.
    let width = names.len() as f64 + 1.0;
    let end = width * groups.len() as f64;
    let all = groups.iter().flat_map(|(_, bars)| bars.iter().flatten());
    // With room above for the names.
    let highest = all.map(|[_, _, max]| *max).fold(1.0, f64::max) * 1.4;
    let area = SVGBackend::new(file, (900, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..end, 0.0..highest)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .max_light_lines(0)
        .y_label_formatter(&whole)
        .draw()?;
    for (index, (name, colour)) in names.iter().zip(COLOURS).enumerate() {
        let at = |group: usize| width * group as f64 + index as f64 + 0.5;
        let spreads: Vec<(f64, [f64; 3])> = groups
            .iter()
            .enumerate()
            .filter_map(|(group, (_, bars))| Some((at(group), bars[index]?)))
            .collect();
        let bar = |(x, [_, median, _]): &(f64, [f64; 3])| {
            Rectangle::new([(*x, 0.0), (x + 0.9, *median)], colour.filled())
        };
        let mark = move |(x, y): (i32, i32)| {
            Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled())
        };
        chart.draw_series(spreads.iter().map(bar))?.label(name).legend(mark);
        let line = |(x, [min, _, max]): &(f64, [f64; 3])| {
            PathElement::new([(x + 0.45, *min), (x + 0.45, *max)], BLACK)
        };
        chart.draw_series(spreads.iter().map(line))?;
    }
    let style = TextStyle::from((FONT, 14)).pos(Pos::new(HPos::Center, VPos::Top));
    for (group, (name, _)) in groups.iter().enumerate() {
        let (x, y) = chart.backend_coord(&(width * (group as f64 + 0.5), 0.0));
        area.draw(&Text::new(name.as_str(), (x, y + 8), style.clone()))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(area.present()?)
}

/// Lines over time (s), one above the other.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn lines<const N: usize>(
    file: &Path,
    lines: [(&str, Vec<(f64, f64)>); N],
) -> Result<(), AnyError> {
    let area = SVGBackend::new(file, (900, 260 * N as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    for (area, (title, points)) in area.split_evenly((N, 1)).iter().zip(lines) {
        let end = points.last().map_or(1.0, |(x, _)| *x);
        let highest = points.iter().map(|(_, y)| *y).fold(1.0, f64::max) * 1.15;
        let mut chart = ChartBuilder::on(area)
            .caption(title, (FONT, 18))
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..end, 0.0..highest)?;
        chart
            .configure_mesh()
            .max_light_lines(0)
            .x_desc("s")
            .x_label_formatter(&whole)
            .y_label_formatter(&whole)
            .draw()?;
        chart.draw_series(LineSeries::new(points, &COLOURS[0]))?;
    }
    Ok(area.present()?)
}
