//! What a report says to people. Every number comes from the JSON, by its place there.

use serde_json::Value;

use super::document::{Block, Cell, Document, Section, Table};
use super::figures;
use super::plot::Plot;
use super::plots;
use crate::report::Report;

/// The number of models, and of paths of a kind, that are listed.
const LISTED: usize = 200;

/// Makes the page of a report.
pub fn document(report: &Report) -> Document {
    let json = serde_json::to_value(report).expect("maps have strings as keys");
    let facts = Facts { report, json };
    let sections = [
        facts.summary(),
        facts.levels(),
        facts.against(),
        facts.fetches(),
        facts.dtypes(),
        facts.kinds(),
        facts.exponents(),
        facts.models(),
        facts.families(),
        facts.versions(),
        facts.poor(),
        facts.faults(),
        facts.again(),
    ];
    Document {
        title: "How much smaller these weights become".into(),
        figures: facts.figures(),
        sections: sections.into_iter().flatten().collect(),
    }
}

/// A report, and its JSON.
struct Facts<'a> {
    report: &'a Report,
    json: Value,
}

/// A way to write a number.
type Write = fn(f64) -> String;

impl Facts<'_> {
    /// Returns the number at a place of the JSON.
    fn number(&self, pointer: &str, write: Write) -> Cell {
        let value = self.json.pointer(pointer).and_then(Value::as_f64);
        let Some(value) = value else { return Cell::Text("-".into()) };
        let exact = self.json.pointer(pointer).map(Value::to_string).unwrap_or_default();
        Cell::Number { shown: write(value), value: exact, pointer: pointer.into() }
    }

    /// Returns a table of the rows of a JSON array: a text, and numbers.
    fn table(&self, pointer: &str, name: [&str; 2], columns: &[(&str, &str, Write)]) -> Block {
        let rows = self.json.pointer(pointer).and_then(Value::as_array);
        let rows = rows.map(Vec::as_slice).unwrap_or_default().iter().take(LISTED).enumerate();
        let row = |(i, row): (usize, &Value)| {
            let first = row[name[1]].as_str().unwrap_or_default().to_owned();
            let numbers = columns
                .iter()
                .map(|(_, field, write)| self.number(&format!("{pointer}/{i}/{field}"), *write));
            std::iter::once(Cell::Text(first)).chain(numbers).collect()
        };
        let heads = columns.iter().map(|(head, ..)| ((*head).to_owned(), true));
        let columns = std::iter::once((name[0].to_owned(), false)).chain(heads).collect();
        Block::Table(Table { columns, rows: rows.map(row).collect() })
    }

    fn figures(&self) -> Vec<(String, Cell)> {
        if self.report.total.raw_bytes == 0 {
            return Vec::new();
        }
        let mut figures = vec![
            ("as they are".into(), self.number("/total/raw_bytes", figures::bytes)),
            ("packed".into(), self.number("/total/packed_bytes", figures::bytes)),
            ("saved".into(), self.number("/total/saved_bytes", figures::bytes)),
            ("of the size".into(), self.number("/total/percent", figures::percent)),
        ];
        if self.report.sample.is_some() {
            let [low, high] = ["/total/percent_low", "/total/percent_high"];
            figures.push(("at least".into(), self.number(low, figures::percent)));
            figures.push(("at most".into(), self.number(high, figures::percent)));
        }
        if let Some(money) = &self.report.money {
            let label = format!("{} saved in a year", money.price.currency);
            figures.push((label, self.number("/money/saved_per_year", figures::money)));
        }
        figures
    }

    fn summary(&self) -> Option<Section> {
        let Report { total, found_files, complete, level, others, money, sample, .. } = self.report;
        let mut blocks = Vec::new();
        if !complete {
            blocks.push(Block::Text(format!(
                "The run was interrupted: of {} of weights it had measured {} by then.",
                counted(*found_files, "file"),
                figures::count(total.files as f64),
            )));
        }
        let files = counted(total.files, "file");
        blocks.push(Block::Text(match (total.files, sample) {
            (0, _) => "There is no file of weights that could be measured.".into(),
            (_, Some(sample)) => format!(
                "An estimate for {files} of weights with {}, from a sample: {} of 512 KiB or less, \
                 {} in all ({:.1} %), spread over every dtype, kind and size of tensors (seed {}). \
                 Each was packed at level {level}, unpacked again and compared: every byte came \
                 back as it was. The size of everything packed is between the least and the most \
                 19 times out of 20.",
                counted(total.tensors, "tensor"),
                counted(sample.chunks, "chunk"),
                figures::bytes(sample.sampled_bytes as f64),
                sample.percent,
                sample.seed,
            ),
            (_, None) => format!(
                "{files} of weights with {} packed at level {level}, unpacked again, verified by \
                 SHA-256, and compared with the originals: every byte came back as it was. The \
                 sizes are those that at1w pack writes.",
                counted(total.tensors, "tensor"),
            ),
        }));
        if others.files > 0 {
            blocks.push(Block::Text(format!(
                "The sizes have {} ({}) in them that packing carries over as they are.",
                counted(others.files, "other file"),
                figures::bytes(others.bytes as f64),
            )));
        }
        if let Some(money) = money {
            let currency = &money.price.currency;
            let money_of = figures::money;
            blocks.push(Block::Text(format!(
                "At {currency} {} for a TB and month, storing them costs {currency} {} a month as \
                 they are, and {currency} {} packed. Each TB of such weights saves {currency} {} a \
                 year.",
                money_of(money.price.per_tb_month),
                money_of(money.raw_per_month),
                money_of(money.packed_per_month),
                money_of(money.saved_per_tb_year),
            )));
        }
        Some(Section { title: String::new(), blocks })
    }

    fn levels(&self) -> Option<Section> {
        let table = self.table(
            "/levels",
            ["level", "level"],
            &[
                ("of the size", "percent", figures::percent),
                ("as they are", "raw_bytes", figures::bytes),
                ("packed", "packed_bytes", figures::bytes),
                ("packing", "pack_mb_per_second", figures::speed),
                ("reading", "read_mb_per_second", figures::speed),
            ],
        );
        let note = "Of the files of weights alone. Packing checks that each chunk decodes. Reading \
                    is to decode every chunk, verify it by SHA-256 and compare it. Speeds are in \
                    bytes as they are before packing, on the machine below.";
        let blocks = vec![table, Block::Text(note.into())];
        self.some(self.report.total.files > 0, "What each level costs and wins", blocks)
    }

    fn against(&self) -> Option<Section> {
        let mut blocks = self.plot(plots::against);
        blocks.push(self.table(
            "/against",
            ["compressor", "level"],
            &[
                ("of the size", "percent", figures::percent),
                ("as they are", "raw_bytes", figures::bytes),
                ("packed", "packed_bytes", figures::bytes),
                ("packing", "pack_mb_per_second", figures::speed),
                ("reading", "read_mb_per_second", figures::speed),
            ],
        ));
        let note = "The same files, each compressed whole on one thread. What comes back is \
                    compared, but these check no SHA-256, and to read one tensor they have to \
                    decompress all that is before it.";
        let all = self.report.levels.first().map_or(0, |level| level.raw_bytes);
        let some = self.report.against.iter().any(|row| row.raw_bytes < all);
        let part = " One that failed on a file is measured on the others; the end of the page says \
                    where.";
        blocks.push(Block::Text(format!("{note}{}", if some { part } else { "" })));
        self.some(!self.report.against.is_empty(), "Beside other compressors", blocks)
    }

    fn fetches(&self) -> Option<Section> {
        let fetched = self.report.fetched.as_ref()?;
        let mut blocks = vec![Block::Text(format!(
            "From {} ({}), which is opened anew each time, in the cache of the system: the median \
             of some rounds. At1w decodes the chunks that are touched, and verifies them; the file \
             as it is has nothing to verify.",
            fetched.path,
            figures::bytes(fetched.raw_bytes as f64),
        ))];
        blocks.extend(self.plot(plots::fetches));
        blocks.push(self.table(
            "/fetches",
            ["fetched", "part"],
            &[
                ("bytes", "bytes", figures::bytes),
                ("packed by at1w", "packed_seconds", figures::seconds),
                ("as it is", "raw_seconds", figures::seconds),
            ],
        ));
        blocks.push(self.table(
            "/fetched/whole",
            ["all of the file, by", "name"],
            &[("time", "seconds", figures::seconds)],
        ));
        self.some(true, "How fast one tensor is", blocks)
    }

    fn dtypes(&self) -> Option<Section> {
        let table = self.table(
            "/dtypes",
            ["dtype", "dtype"],
            &[
                ("of the size", "percent", figures::percent),
                ("tensors", "tensors", figures::count),
                ("as they are", "raw_bytes", figures::bytes),
                ("packed", "packed_bytes", figures::bytes),
                ("bits", "bits", figures::bits),
                ("bits packed", "packed_bits", figures::bits),
                ("bits, order 0", "bound_bits", figures::bits),
            ],
        );
        let note = "Bits are those of an element. Order 0 is what an ideal coder would need with \
                    one free table for each byte of an element: at1w goes below it where it finds \
                    more than that.";
        let headers = format!(
            "Headers, indexes and trailers are {}, and {} packed.",
            figures::bytes(self.report.header_bytes as f64),
            figures::bytes(self.report.packed_header_bytes as f64),
        );
        let blocks = vec![table, Block::Text(format!("{note} {headers}"))];
        self.some(!self.report.dtypes.is_empty(), "By dtype", blocks)
    }

    fn kinds(&self) -> Option<Section> {
        let mut blocks = self.plot(plots::kinds);
        blocks.push(self.table(
            "/kinds",
            ["kind of tensor", "kind"],
            &[
                ("of the size", "percent", figures::percent),
                ("tensors", "tensors", figures::count),
                ("as they are", "raw_bytes", figures::bytes),
                ("packed", "packed_bytes", figures::bytes),
            ],
        ));
        let note = "Names and shapes tell the kind: a vector has one dimension, a matrix is any \
                    other layer.";
        blocks.push(Block::Text(note.into()));
        self.some(!self.report.kinds.is_empty(), "By kind of tensor", blocks)
    }

    fn exponents(&self) -> Option<Section> {
        let note = "Trained weights are near zero, and few exponents are all that occurs: of the \
                    bits that hold an exponent, only the entropy has to be stored. Mantissas look \
                    random, and hardly become smaller.";
        let mut blocks = vec![Block::Text(note.into())];
        blocks.extend(self.plot(plots::exponents));
        blocks.push(self.table(
            "/exponents",
            ["dtype", "dtype"],
            &[
                ("bits of an exponent", "bits", figures::count),
                ("entropy", "entropy", figures::bits),
            ],
        ));
        self.some(!self.report.exponents.is_empty(), "Where the gain comes from", blocks)
    }

    fn models(&self) -> Option<Section> {
        let models = &self.report.models;
        let mut blocks = vec![self.table(
            "/models",
            ["model", "model"],
            &[
                ("of the size", "percent", figures::percent),
                ("tensors", "tensors", figures::count),
                ("as they are", "raw_bytes", figures::bytes),
                ("packed", "packed_bytes", figures::bytes),
            ],
        )];
        if let Some(Block::Table(table)) = blocks.first_mut() {
            table.columns.insert(1, ("dtype".into(), false));
            for (row, model) in table.rows.iter_mut().zip(models) {
                row.insert(1, Cell::Text(model.dtype.clone()));
            }
        }
        if models.len() > LISTED {
            blocks.push(Block::Text(more(models.len())));
        }
        self.some(!models.is_empty(), "By model", blocks)
    }

    fn families(&self) -> Option<Section> {
        let families = self.report.families.as_ref()?;
        let mut blocks = vec![Block::Text(match families.tensors {
            0 => "No tensor of one file is byte-identical to one of another file, so a store that \
                  keeps every tensor once would save nothing on top of packing."
                .into(),
            count => format!(
                "{} byte-identical to one of another file. A store that keeps every tensor once \
                 (at1w push) would save {} more, on top of packing.",
                match count {
                    1 => "1 tensor is".into(),
                    count => format!("{} tensors are", figures::count(count as f64)),
                },
                figures::bytes(families.saved_bytes as f64),
            ),
        })];
        let mut table = self.table(
            "/families/families",
            ["files that share tensors", "-"],
            &[
                ("tensors", "tensors", figures::count),
                ("as they are", "raw_bytes", figures::bytes),
                ("saved on top", "saved_bytes", figures::bytes),
            ],
        );
        if let Block::Table(table) = &mut table {
            for (row, family) in table.rows.iter_mut().zip(&families.families) {
                row[0] = Cell::Text(names(&family.files, 2));
            }
        }
        if !families.families.is_empty() {
            blocks.push(table);
        }
        self.some(self.report.total.files > 1, "Tensors that several files have", blocks)
    }

    fn versions(&self) -> Option<Section> {
        let versions = self.report.versions.as_ref()?;
        let mut blocks = Vec::new();
        let files = match versions.files {
            1 => "1 file is a version".into(),
            count => format!("{count} files are versions"),
        };
        let text = format!(
            "{files} of another one, as a model is of the one that it was trained from. A store \
             that keeps differences to that (at1w push) would save about {} more, beside tensors \
             that are byte-identical. Estimated from {} sampled tensors of {}.",
            figures::bytes(versions.saved_bytes as f64),
            figures::count(versions.sampled_tensors as f64),
            figures::count(versions.tensors as f64),
        );
        let mut table = self.table(
            "/versions/versions",
            ["version", "file"],
            &[
                ("tensors", "tensors", figures::count),
                ("sampled", "sampled_tensors", figures::count),
                ("as they are", "raw_bytes", figures::bytes),
                ("saved on top", "saved_bytes", figures::bytes),
            ],
        );
        if let Block::Table(table) = &mut table {
            table.columns.insert(1, ("of".into(), false));
            for (row, version) in table.rows.iter_mut().zip(&versions.versions) {
                row.insert(1, Cell::Text(version.base.clone()));
            }
        }
        if versions.files > 0 {
            blocks.extend([Block::Text(text), table]);
        }
        if versions.left_out > 0 {
            blocks.push(Block::Text(format!(
                "{} like earlier ones in names and shapes, but the sample had no room to hold them \
                 against all of these. A larger one tells whether they are versions of them.",
                match versions.left_out {
                    1 => "1 file is".into(),
                    count => format!("{} files are", figures::count(count as f64)),
                },
            )));
        }
        self.some(!blocks.is_empty(), "Versions of other files", blocks)
    }

    fn poor(&self) -> Option<Section> {
        let poor = self.report.poor.iter();
        let items = poor.map(|poor| {
            let (size, percent) = (figures::bytes(poor.raw_bytes as f64), poor.percent);
            format!("{}, {size} ({percent:.1} %): {}.", poor.name, poor.why)
        });
        let blocks = vec![Block::List(items.collect())];
        self.some(!self.report.poor.is_empty(), "What hardly becomes smaller, and why", blocks)
    }

    fn faults(&self) -> Option<Section> {
        let Report { faults, left_out, .. } = self.report;
        let mut blocks = Vec::new();
        if !faults.is_empty() {
            let shown = faults.iter().take(LISTED);
            let mut items: Vec<_> =
                shown.map(|fault| format!("{}: {}", fault.path, fault.message)).collect();
            if faults.len() > LISTED {
                items.push(more(faults.len()));
            }
            blocks.push(Block::List(items));
        }
        if !left_out.is_empty() {
            blocks.push(Block::Text(format!(
                "Left out, since they are no content of a repository: {}.",
                names(left_out, 4)
            )));
        }
        self.some(!blocks.is_empty(), "What was not measured", blocks)
    }

    fn again(&self) -> Option<Section> {
        let Report { machine, version, time, seconds, commands, .. } = self.report;
        let took = figures::seconds(*seconds);
        let text = format!(
            "Measured by at1w {version} in {took}, until {time}, on {} with {} of {} threads, {}, \
             kernels {}.",
            machine.processor, machine.threads, machine.cores, machine.system, machine.kernels,
        );
        let mut blocks = vec![Block::Text(text)];
        if !commands.is_empty() {
            blocks.push(Block::Commands(commands.clone()));
        }
        self.some(true, "How to repeat it", blocks)
    }

    /// Returns the blocks of pictures.
    fn plot(&self, draw: fn(&Report) -> Vec<Plot>) -> Vec<Block> {
        draw(self.report).into_iter().map(Block::Plot).collect()
    }

    fn some(&self, there: bool, title: &str, blocks: Vec<Block>) -> Option<Section> {
        there.then(|| Section { title: title.into(), blocks })
    }
}

/// Counts things: `1 file`, `2 files`.
fn counted(count: u64, thing: &str) -> String {
    let shown = figures::count(count as f64);
    format!("{shown} {thing}{}", if count == 1 { "" } else { "s" })
}

fn more(count: usize) -> String {
    format!("{} in all; the JSON has every one.", figures::count(count as f64))
}

/// Lists the first names and says how many others there are.
fn names(names: &[String], most: usize) -> String {
    let shown = names.iter().take(most).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
