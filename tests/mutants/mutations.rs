//! The mistakes: in which file, what is replaced by what, and which kernels must then fail their checks.

/// Mistakes in one file.
pub struct Group {
    /// The file, in kernels/src.
    pub file: &'static str,
    /// Files that use it, on the way to the kernels.
    pub users: &'static [&'static str],
    /// The kernels whose checks must notice each of the mistakes.
    pub kernels: &'static [&'static str],
    /// Name, text, and what it is replaced by. The text occurs once in the file.
    pub mistakes: &'static [[&'static str; 3]],
}

const ELEMENTWISE: &[&str] = &["multiply", "relu", "sigmoid", "update", "divide"];
const NAIVE: &[&str] = &["matmul_naive", "matmul_naive_tn", "matmul_naive_nt", "matmul_naive_tt"];
const TILED: &[&str] = &["matmul_tiled", "matmul_tiled_tn", "matmul_tiled_nt", "matmul_tiled_tt"];
const WARP_TILED: &[&str] =
    &["matmul_warp_tiled", "matmul_warp_tiled_tn", "matmul_warp_tiled_nt", "matmul_warp_tiled_tt"];
const TF32: &[&str] = &["matmul_tf32", "matmul_tf32_tn", "matmul_tf32_nt", "matmul_tf32_tt"];
const TF32_ALONG_K: &[&str] = &["matmul_tf32", "matmul_tf32_nt", "matmul_tf32_tt"];
const TF32_ALONG_LINES: &[&str] = &["matmul_tf32", "matmul_tf32_tn", "matmul_tf32_tt"];
const TF32X3: &[&str] = &["matmul_tf32x3", "matmul_tf32x3_tn", "matmul_tf32x3_nt", "matmul_tf32x3_tt"];
const WGMMA: &[&str] = &["matmul_wgmma", "matmul_wgmma_tn", "matmul_wgmma_nt", "matmul_wgmma_tt"];
const WGMMA_ALONG_K: &[&str] = &["matmul_wgmma", "matmul_wgmma_nt", "matmul_wgmma_tt"];
const WGMMA_ALONG_LINES: &[&str] = &["matmul_wgmma", "matmul_wgmma_tn", "matmul_wgmma_tt"];
const DENSE_WGMMA: &[&str] = &["dense_wgmma_identity", "dense_wgmma_relu", "dense_wgmma_sigmoid"];
const BF16: &[&str] = &["matmul_bf16", "matmul_bf16_tn", "matmul_bf16_nt", "matmul_bf16_tt"];
const DENSE_TENSOR_CORE: &[&str] = &[
    "dense_tf32_identity",
    "dense_tf32_relu",
    "dense_tf32_sigmoid",
    "dense_tf32x3_identity",
    "dense_tf32x3_relu",
    "dense_tf32x3_sigmoid",
    "dense_bf16_identity",
    "dense_bf16_relu",
    "dense_bf16_sigmoid",
];
const SPLIT_K: &[&str] = &["matmul_split_k", "matmul_split_k_tn", "matmul_split_k_nt", "matmul_split_k_tt"];
const FINISH: &[&str] =
    &["matmul_split_k_finish", "dense_split_k_identity", "dense_split_k_relu", "dense_split_k_sigmoid"];
const DENSE_WARP_TILED: &[&str] =
    &["dense_warp_tiled_identity", "dense_warp_tiled_relu", "dense_warp_tiled_sigmoid"];
const STEPS: &[&str] =
    &["squared_error_step", "squared_error_step_narrow", "log_loss_step", "log_loss_step_narrow"];
const DENSE: &[&str] = &["dense_identity", "dense_relu", "dense_sigmoid"];

/// All mistakes.
pub const GROUPS: &[Group] = &[
    Group {
        file: "elementwise.rs",
        users: &[],
        kernels: ELEMENTWISE,
        mistakes: &[
            ["block index dropped", "thread::block_idx_x() as usize * THREADS as usize + thread", "thread"],
            [
                "index off by one",
                "+ thread::thread_idx_x() as usize",
                "+ thread::thread_idx_x() as usize + 1",
            ],
            [
                "blocks overlap",
                "block_idx_x() as usize * THREADS as usize",
                "block_idx_x() as usize * (THREADS as usize - 1)",
            ],
        ],
    },
    Group {
        file: "elementwise.rs",
        users: &[],
        kernels: &["multiply"],
        mistakes: &[
            [
                "bounds off by one",
                "if i < n as usize {\n        out.write(i, a.read(i) * b",
                "if i <= n as usize {\n        out.write(i, a.read(i) * b",
            ],
            [
                "tail lost",
                "if i < n as usize {\n        out.write(i, a.read(i) * b",
                "if i + 1 < n as usize {\n        out.write(i, a.read(i) * b",
            ],
            ["one operand twice", "a.read(i) * b.read(i)", "a.read(i) * a.read(i)"],
            ["another operation", "a.read(i) * b.read(i)", "a.read(i) + b.read(i)"],
        ],
    },
    Group {
        file: "elementwise.rs",
        users: &[],
        kernels: &["relu"],
        mistakes: &[
            [
                "bounds off by one",
                "if i < n as usize {\n        out.write(i, relu",
                "if i <= n as usize {\n        out.write(i, relu",
            ],
            [
                "tail lost",
                "if i < n as usize {\n        out.write(i, relu",
                "if i + 1 < n as usize {\n        out.write(i, relu",
            ],
            ["sign", "if z < 0.0 { 0.0 }", "if z > 0.0 { 0.0 }"],
            ["NaN lost", "if z < 0.0 { 0.0 } else { z }", "if z > 0.0 { z } else { 0.0 }"],
        ],
    },
    Group {
        file: "elementwise.rs",
        users: &[],
        kernels: &["sigmoid"],
        mistakes: &[
            [
                "bounds off by one",
                "if i < n as usize {\n        out.write(i, sig",
                "if i <= n as usize {\n        out.write(i, sig",
            ],
            [
                "tail lost",
                "if i < n as usize {\n        out.write(i, sig",
                "if i + 1 < n as usize {\n        out.write(i, sig",
            ],
            ["magnitude dropped", "-z.abs()", "-z"],
            ["negative side", "(if z < 0.0 { e } else { 1.0 })", "1.0"],
            ["denominator", "1.0 + e;", "1.0 - e;"],
            ["a step the wrong way", "mul_add(-denominator, guess, 1.0)", "mul_add(denominator, guess, 1.0)"],
            ["fewer digits", "float::exp(-z.abs())", "float::exp2_approx(-z.abs() * 1.4427)"],
        ],
    },
    Group {
        file: "elementwise.rs",
        users: &[],
        kernels: &["update"],
        mistakes: &[
            [
                "bounds off by one",
                "if i < n as usize {\n        weights",
                "if i <= n as usize {\n        weights",
            ],
            ["tail lost", "if i < n as usize {\n        weights", "if i + 1 < n as usize {\n        weights"],
            ["uphill", "mul_add(-learning_rate,", "mul_add(learning_rate,"],
            ["learning rate dropped", "mul_add(-learning_rate,", "mul_add(-1.0,"],
            ["weights dropped", "gradient.read(i), weights.read(i)", "gradient.read(i), 0.0"],
        ],
    },
    Group {
        file: "elementwise.rs",
        users: &[],
        kernels: &["divide"],
        mistakes: &[
            [
                "bounds off by one",
                "if i < n as usize {\n        out.write(i, a.read(i) / b",
                "if i <= n as usize {\n        out.write(i, a.read(i) / b",
            ],
            [
                "tail lost",
                "if i < n as usize {\n        out.write(i, a.read(i) / b",
                "if i + 1 < n as usize {\n        out.write(i, a.read(i) / b",
            ],
            ["operands swapped", "a.read(i) / b.read(i)", "b.read(i) / a.read(i)"],
            ["another operation", "a.read(i) / b.read(i)", "a.read(i) * b.read(i)"],
        ],
    },
    Group {
        file: "reduce/strided.rs",
        users: &["reduce/block.rs", "reduce/sum.rs"],
        kernels: &["sum"],
        mistakes: &[
            ["tail lost", "while index < end {", "while index + 1 < end {"],
            ["past the end", "(LOADS - 1) * step < end", "(LOADS - 1) * step <= end"],
            ["loads not a step apart", "index + slot * step", "index + slot"],
            ["slot skipped", "for slot in 0..LOADS", "for slot in 1..LOADS"],
            ["groups overlap", "index += LOADS * step", "index += (LOADS - 1) * step"],
            ["accumulator lost", "(acc[2] + acc[3])", "acc[2]"],
            ["accumulator twice", "(acc[0] + acc[1])", "(acc[0] + acc[0])"],
        ],
    },
    Group {
        file: "reduce/block.rs",
        users: &["reduce/sum.rs"],
        kernels: &["sum"],
        mistakes: &[
            ["barrier dropped", "value) };\n    }\n    thread::sync_threads();", "value) };\n    }"],
            ["warp lost", "if lane < WARPS {", "if lane < WARPS - 1 {"],
            ["a warp too many", "if lane < WARPS {", "if lane <= WARPS {"],
            ["lane of the sum", "if lane == 0 {", "if lane == 1 {"],
            ["every lane writes", "if lane == 0 {", "{"],
            ["all warps in one place", "partial.write(warp, value)", "partial.write(0, value)"],
            ["first step of the tree lost", "WARP as u32 / 2", "WARP as u32 / 4"],
            ["last step of the tree lost", "while distance > 0", "while distance > 1"],
            ["mask without a lane", "warp::FULL_MASK", "warp::FULL_MASK >> 1"],
            [
                "tree within warps only",
                "let value = if lane < WARPS { unsafe { partial.read(lane) } } else { 0.0 };",
                "",
            ],
            ["block index dropped", "thread::block_idx_x() as usize * threads + thread", "thread"],
            ["step without the grid", "thread::grid_dim_x() as usize * threads", "threads"],
        ],
    },
    Group {
        file: "reduce/sum.rs",
        users: &[],
        kernels: &["sum"],
        mistakes: &[
            ["tail lost", "grid_stride(n as usize,", "grid_stride(n as usize / 2 * 2,"],
            ["past the end", "grid_stride(n as usize,", "grid_stride(n as usize + 1,"],
            ["last value only", "acc[slot] += x.read(i)", "acc[slot] = x.read(i)"],
            ["one accumulator only", "join(acc)", "acc[0]"],
            ["one thread only", "block_sum(join(acc))", "join(acc)"],
            ["thread of the sum", "thread::thread_idx_x() == 0", "thread::thread_idx_x() == 1"],
            ["blocks in one place", "thread::block_idx_x() as usize", "0"],
        ],
    },
    Group {
        file: "reduce/dot.rs",
        users: &[],
        kernels: &["dot"],
        mistakes: &[
            ["tail lost", "grid_stride(n as usize,", "grid_stride(n as usize / 2 * 2,"],
            ["one operand twice", "a.read(i), b.read(i)", "a.read(i), a.read(i)"],
            ["accumulator of another slot", "b.read(i), acc[slot])", "b.read(i), acc[0])"],
            ["last product only", "b.read(i), acc[slot])", "b.read(i), 0.0)"],
            ["indices apart", "b.read(i)", "b.read((i + 1) % n as usize)"],
            ["one thread only", "block_sum(join(acc))", "join(acc)"],
            ["blocks in one place", "thread::block_idx_x() as usize", "0"],
        ],
    },
    Group {
        file: "reduce/strip.rs",
        users: &["reduce/column_sums.rs"],
        kernels: &["column_sums"],
        mistakes: &[
            ["barrier dropped", "    thread::sync_threads();\n", ""],
            ["a row of threads lost", "in 0..ROWS as usize", "in 1..ROWS as usize"],
            [
                "partial sums transposed",
                "partial.write(y * COLUMNS as usize + x",
                "partial.write(x * ROWS as usize + y",
            ],
            ["partial sums in one place", "partial.write(y * COLUMNS as usize + x", "partial.write(x"],
            ["strip index dropped", "thread::block_idx_x() as usize * COLUMNS as usize + thread", "thread"],
            ["row blocks overlap", "first..(first + rows).min(m)", "first..(first + rows + 1).min(m)"],
            [
                "last row of a block lost",
                "first..(first + rows).min(m)",
                "first..(first + rows).min(m).saturating_sub(1)",
            ],
            ["past the last row", "first..(first + rows).min(m)", "first..first + rows"],
            ["row blocks rounded down", "m.div_ceil(blocks);", "m / blocks;"],
            ["rows of all threads", "rows.end, ROWS as usize, visit", "rows.end, 1, visit"],
            ["thread's row dropped", "rows.start + thread::thread_idx_y() as usize", "rows.start"],
        ],
    },
    Group {
        file: "reduce/column_sums.rs",
        users: &[],
        kernels: &["column_sums"],
        mistakes: &[
            ["indices swapped", "row * n + column));", "column * m as usize + row));"],
            ["mask dropped", "column < n, |row", "true, |row"],
            ["bounds dropped", "== 0 && column < n", "== 0"],
            ["all threads write", "thread::thread_idx_y() == 0 && column", "column"],
            ["row blocks in one place", "thread::block_idx_y() as usize * n + column", "column"],
            ["tail lost", "rows(m as usize)", "rows(m as usize / 2 * 2)"],
            ["last value only", "acc + x.read", "x.read"],
        ],
    },
    Group {
        file: "reduce/column_moments.rs",
        users: &[],
        kernels: &["column_moments"],
        mistakes: &[
            ["differences from 0", "values[i] - first;", "values[i];"],
            ["squares about the first", "{ values[i] - mean }", "{ values[i] - first }"],
            ["squares of the last value", "mul_add(apart, apart, squares[i % LOADS])", "apart * apart"],
            ["count of a full group", "join(sums) / count as f32", "join(sums) / GROUP as f32"],
            [
                "squares of repeated values",
                "if i < count { values[i] - mean } else { 0.0 }",
                "values[i] - mean",
            ],
            ["weight of the other", "other.count / count", "self.count / count"],
            [
                "difference of the means dropped",
                "mul_add(apart * share, apart * self.count,",
                "mul_add(0.0, share,",
            ],
            ["squares of the other dropped", "self.squares + other.squares", "self.squares"],
            ["barrier dropped", "    thread::sync_threads();\n", ""],
            ["a row of threads lost", "in 1..ROWS as usize", "in 2..ROWS as usize"],
            ["a group lost", "row += GROUP * step;", "row += 2 * GROUP * step;"],
            ["tail lost", "    if row < rows.end {", "    if row + step < rows.end {"],
            [
                "merge dropped",
                "all = all.merge(Moments::of(values, count));",
                "all = Moments::of(values, count);",
            ],
            ["neighbours for rows", "(row * n + column, step * opaque(n))", "(row * n + column, opaque(n))"],
            ["row blocks in one place", "thread::block_idx_y() as usize * n + column", "column"],
            [
                "mask dropped",
                "if column < n { own_rows(x, n, rows(m as usize), column) } else { Moments::NONE }",
                "own_rows(x, n, rows(m as usize), column)",
            ],
            ["results swapped", "means.write(place, all.mean)", "means.write(place, all.squares)"],
        ],
    },
    Group {
        file: "reduce/column_moments.rs",
        users: &[],
        kernels: &["column_moments_finish"],
        mistakes: &[
            ["sample for population", "all.squares / m as f32", "all.squares / (m as f32 - 1.0)"],
            ["variance for deviation", "float::sqrt(variance)", "variance"],
            ["divisor dropped", "all.squares / m as f32", "all.squares"],
            ["first row block lost", "visit_rows(0..blocks,", "visit_rows(1..blocks,"],
            ["first row block only", "visit_rows(0..blocks,", "visit_rows(0..1,"],
            ["a row block too many", "visit_rows(0..blocks,", "visit_rows(0..blocks + 1,"],
            ["row blocks weigh the same", "rows_of_block(m, blocks, block).len() as f32", "1.0"],
            ["merge dropped", "own = own.merge(Moments", "own = Moments::NONE.merge(Moments"],
            [
                "threads not merged",
                "let all = merge_rows(own);\n    if thread::thread_idx_y() == 0 && column < n {\n        mean.write",
                "let all = own;\n    if thread::thread_idx_y() == 0 && column < n {\n        mean.write",
            ],
            ["results swapped", "mean.write(column, all.mean)", "mean.write(column, all.squares)"],
        ],
    },
    Group {
        file: "descent/matrix_vector.rs",
        users: &[],
        kernels: &["matrix_vector"],
        mistakes: &[
            ["bias dropped", "total + bias.read(0)", "total"],
            ["means dropped", " - mean.read(column)", ""],
            ["bias a row", "bias.read(0)", "bias.read(row)"],
            ["bounds off by one", "row >= m as usize", "row > m as usize"],
            ["tail lost", "strided(lane, n, WARP,", "strided(lane, n / WARP * WARP, WARP,"],
            ["past the end", "strided(lane, n, WARP,", "strided(lane, n + 1, WARP,"],
            ["lane of the sum", "if lane == 0 {", "if lane == 1 {"],
            ["one lane only", "warp_sum(join(acc))", "join(acc)"],
            ["indices swapped", "x.read(row * n + column)", "x.read(column * m as usize + row)"],
            ["weights by row", "weights.read(column)", "weights.read(row)"],
            ["warps in one row", "* ROWS + warp::warp_id() as usize", "* ROWS"],
        ],
    },
    Group {
        file: "descent/error.rs",
        users: &[],
        kernels: &["squared_error", "log_loss"],
        mistakes: &[
            ["bounds off by one", "if i < m as usize", "if i <= m as usize"],
            ["tail lost", "if i < m as usize", "if i + 1 < m as usize"],
            [
                "operands swapped",
                "L::error(z.read(i), y.read(i), 0.0)",
                "L::error(y.read(i), z.read(i), 0.0)",
            ],
            ["results swapped", "error.write(i, e);", "error.write(i, loss);"],
            ["a loss from somewhere", "y.read(i), 0.0)", "y.read(i), 1.0)"],
        ],
    },
    Group {
        file: "descent/gradient.rs",
        users: &[],
        kernels: &["gradient"],
        mistakes: &[
            ["error by column", "center, error.read(row)", "center, error.read(column % m as usize)"],
            ["error dropped", "error.read(row), acc)", "1.0, acc)"],
            ["mean dropped", "row * n + column) - center", "row * n + column)"],
            ["indices swapped", "x.read(row * n + column)", "x.read(column * m as usize + row)"],
            ["tail lost", "rows(m as usize)", "rows(m as usize / 2 * 2)"],
            ["row blocks in one place", "thread::block_idx_y() as usize * sums + column", "column"],
            [
                "errors for losses",
                "error.read(row) } else { losses.read(row) }",
                "error.read(row) } else { error.read(row) }",
            ],
            ["bounds dropped", "== 0 && column < sums", "== 0"],
        ],
    },
    Group {
        file: "descent/fused.rs",
        users: &[],
        kernels: STEPS,
        mistakes: &[
            ["means dropped", "values[r][c][k] -= center[c][k];", "values[r][c][k] -= 0.0;"],
            ["bias dropped", "L::error(z[r] + bias", "L::error(z[r]"],
            ["rows past the end", "if own.row(round, r) < own.end {", "if true {"],
            ["tail lost", "let inside = row < self.end;", "let inside = row + 1 < self.end;"],
            ["copies into the slot that is read", "(shared, free, round", "(shared, slot, round"],
            ["copies not waited for", "wait_group::<PENDING>()", "wait_group::<{ PENDING + 1 }>()"],
            [
                "last barrier dropped",
                "        thread::sync_threads();\n        let of_warp",
                "        let of_warp",
            ],
            ["blocks in one place", "thread::block_idx_x() as usize * (n + 2) + column", "column"],
            ["a distance lost", "let mut distance = lanes / 2;", "let mut distance = lanes / 4;"],
            ["last team only", "total += unsafe {", "total = unsafe {"],
            ["deviations dropped", "w[k] / deviation[k]", "w[k]"],
            [
                "deviations of single values dropped",
                "weights.read(there) / deviation.read(there)",
                "weights.read(there)",
            ],
            ["vectors of any rows", "n.is_multiple_of(V)", "n.is_multiple_of(2)"],
            ["rows of the first team", "rows.start + team * teams.rows_of_tile()", "rows.start"],
            ["a sample's error dropped", "sum_of_errors += e;", "sum_of_errors = e;"],
        ],
    },
    Group {
        file: "descent/fused.rs",
        users: &[],
        kernels: &["squared_error_step", "log_loss_step"],
        mistakes: &[
            ["warps left over", "let left_over = warp / warps == WARPS / warps;", "let left_over = false;"],
            ["parts in one place", "let place = (round % 2) * WARPS * ROWS;", "let place = 0;"],
            [
                "barrier of the parts dropped",
                "                thread::sync_threads();\n                for r",
                "                for r",
            ],
            ["columns of the first part", "column: part * CHUNKS * V * lanes + first", "column: first"],
            ["last part only", "z[r] += unsafe { parts", "z[r] = unsafe { parts"],
        ],
    },
    Group {
        file: "descent/fused.rs",
        users: &[],
        kernels: &["squared_error_step_narrow", "log_loss_step_narrow"],
        mistakes: &[
            [
                "target of the tile's first row",
                "shared.read(own.target + (slot * ROWS + r) * WARP)",
                "shared.read(own.target + slot * ROWS * WARP)",
            ],
            ["warp's barrier dropped", "        warp::sync_warp(warp::FULL_MASK);\n", ""],
            ["groups not added up", "while distance >= lanes {", "while distance > lanes {"],
            ["rows of the first group", "teams.rows_of_tile() + group", "teams.rows_of_tile()"],
            ["rows of a tile in one place", "r * self.next_row", "r"],
        ],
    },
    Group {
        file: "descent/loss.rs",
        users: &["descent/fused.rs"],
        kernels: &["squared_error_step", "squared_error_step_narrow"],
        mistakes: &[
            ["half dropped", "mul_add(0.5 * e, e, sum)", "mul_add(e, e, sum)"],
            ["sign", "let e = z - y;", "let e = y - z;"],
            ["last loss only", "mul_add(0.5 * e, e, sum)", "0.5 * e * e"],
        ],
    },
    Group {
        file: "descent/loss.rs",
        users: &["descent/fused.rs"],
        kernels: &["log_loss_step", "log_loss_step_narrow"],
        mistakes: &[
            ["straight part dropped", "if z > 0.0 { z } else { 0.0 }", "0.0"],
            ["target dropped", "mul_add(-y, z, right)", "right"],
            ["magnitude dropped", "float::exp(-z.abs())", "float::exp(-z)"],
            ["last loss only", "sum + loss)", "loss)"],
            ["prediction for its error", "sigmoid_of(z) - y", "sigmoid_of(z)"],
            ["a term of the series", "1.0 / 9.0", "0.0"],
            [
                "small losses lost",
                "let s = t / (2.0 + t);",
                "let t = (1.0 + t) - 1.0;\n    let s = t / (2.0 + t);",
            ],
        ],
    },
    Group {
        file: "descent/finish.rs",
        users: &[],
        kernels: &["descent_finish"],
        mistakes: &[
            ["uphill", "mul_add(-learning_rate, slope, weight)", "mul_add(learning_rate, slope, weight)"],
            ["deviation dropped", "average / deviation.read(column)", "average"],
            ["weight dropped", "slope, weight));", "slope, 0.0));"],
            ["bias dropped", "slope, bias.read(0))", "slope, 0.0)"],
            ["penalty dropped", "mul_add(l2, weight, average / d", "mul_add(0.0, weight, average / d"],
            ["penalty on a gradient", "mul_add(l2, weight, average / d", "mul_add(l2, average, average / d"],
            ["bias not in the length", "        slope = average;\n", "        slope = 0.0 * average;\n"],
            [
                "bias among the weights",
                "        slope = average;\n",
                "        slope = average;\n        weight = average;\n",
            ],
            ["squares swapped", "squares.write(at, slopes)", "squares.write(at, magnitudes)"],
            ["squares of one step", "2 * (now as usize * strips + strip)", "2 * strip"],
            ["squares of one strip", "2 * (now as usize * strips + strip)", "2 * (now as usize * strips)"],
            ["features for samples", "m.max(1) as f32", "n as f32"],
            ["no samples", "m.max(1) as f32", "m as f32"],
            ["first block lost", "strip_sum(0..blocks", "strip_sum(1..blocks"],
            ["cost for bias", "column == n {", "column == n + 1 {"],
            ["history of one step", "now as usize, average", "0, average"],
            ["step not counted", "now + 1", "now"],
            ["past the history", "if now >= steps {", "if false {"],
            ["mask dropped", "column < sums, |block", "true, |block"],
        ],
    },
    Group {
        file: "matmul/tile.rs",
        users: &["matmul/naive.rs"],
        kernels: NAIVE,
        mistakes: &[
            ["tiles rounded down", "n.div_ceil(columns) as u32;", "(n / columns).max(1) as u32;"],
            ["sides of a tile swapped", "as usize * rows,", "as usize * columns,"],
            [
                "row and column of tiles swapped",
                "((block / tiles) as usize * rows, (block % tiles) as usize * columns)",
                "((block % tiles) as usize * rows, (block / tiles) as usize * columns)",
            ],
        ],
    },
    Group {
        file: "matmul/naive.rs",
        users: &[],
        kernels: NAIVE,
        mistakes: &[
            ["bounds of rows", "if row >= m || column >= n", "if row > m || column >= n"],
            ["bounds of columns", "if row >= m || column >= n", "if row >= m"],
            ["first product lost", "for l in 0..k", "for l in 1..k"],
            ["past the end", "for l in 0..k", "for l in 0..k + 1"],
            ["last product only", "mul_add(a, b, acc)", "a * b"],
            ["sides of A", "place::<A_TRANSPOSED>(m, k,", "place::<A_TRANSPOSED>(k, m,"],
            ["sides of B", "place::<B_TRANSPOSED>(k, n,", "place::<B_TRANSPOSED>(n, k,"],
            ["C transposed", "c.write(row * n + column", "c.write(column * m + row"],
            [
                "x and y swapped",
                "first_column + thread::thread_idx_x() as usize",
                "first_column + thread::thread_idx_y() as usize",
            ],
        ],
    },
    Group {
        file: "matmul/naive.rs",
        users: &[],
        kernels: &["matmul_naive"],
        mistakes: &[["A transposed", "multiply::<false, false>", "multiply::<true, false>"]],
    },
    Group {
        file: "matmul/naive.rs",
        users: &[],
        kernels: &["matmul_naive_tn"],
        mistakes: &[["A not transposed", "multiply::<true, false>", "multiply::<false, false>"]],
    },
    Group {
        file: "matmul/naive.rs",
        users: &[],
        kernels: &["matmul_naive_nt"],
        mistakes: &[["wrong operand transposed", "multiply::<false, true>", "multiply::<true, false>"]],
    },
    Group {
        file: "matmul/naive.rs",
        users: &[],
        kernels: &["matmul_naive_tt"],
        mistakes: &[["B not transposed", "multiply::<true, true>", "multiply::<true, false>"]],
    },
    Group {
        file: "matmul/tiled.rs",
        users: &[],
        kernels: TILED,
        mistakes: &[
            ["first barrier dropped", "thread::sync_threads();\n        for l", "for l"],
            ["second barrier dropped", "thread::sync_threads();\n        start += T;", "start += T;"],
            [
                "mask of rows",
                "let inside = row < rows && column < columns;",
                "let inside = column < columns;",
            ],
            ["mask of columns", "let inside = row < rows && column < columns;", "let inside = row < rows;"],
            ["padding of ones", "else { 0.0 };", "else { 1.0 };"],
            [
                "tile not padded",
                "tile.write(r * PITCH + c, value);",
                "if inside { tile.write(r * PITCH + c, value); }",
            ],
            ["tail of k lost", "while start < k", "while start + T <= k"],
            ["a column of the tile lost", "for l in 0..T {", "for l in 0..T - 1 {"],
            ["tile of A transposed", "a_tile.read(y * PITCH + l)", "a_tile.read(l * PITCH + y)"],
            ["tile of B transposed", "b_tile.read(l * PITCH + x)", "b_tile.read(x * PITCH + l)"],
            ["tile of A does not move", "[m, k], [first_row, start]", "[m, k], [first_row, 0]"],
            ["tile of B does not move", "[k, n], [start, first_column]", "[k, n], [0, first_column]"],
            ["row of A's tile", "[m, k], [first_row, start]", "[m, k], [first_column, start]"],
            ["bounds of rows", "if row < m && column < n", "if column < n"],
            ["bounds of columns", "if row < m && column < n", "if row < m"],
            [
                "threads outside return",
                "let acc = element",
                "if row >= m || column >= n { return; }\n        let acc = element",
            ],
        ],
    },
    Group {
        file: "matmul/tiled.rs",
        users: &[],
        kernels: &["matmul_tiled"],
        mistakes: &[["B transposed", "multiply::<false, false>", "multiply::<false, true>"]],
    },
    Group {
        file: "matmul/tiled.rs",
        users: &[],
        kernels: &["matmul_tiled_tn"],
        mistakes: &[["wrong operand transposed", "multiply::<true, false>", "multiply::<false, true>"]],
    },
    Group {
        file: "matmul/tiled.rs",
        users: &[],
        kernels: &["matmul_tiled_nt"],
        mistakes: &[["B not transposed", "multiply::<false, true>", "multiply::<false, false>"]],
    },
    Group {
        file: "matmul/tiled.rs",
        users: &[],
        kernels: &["matmul_tiled_tt"],
        mistakes: &[["A not transposed", "multiply::<true, true>", "multiply::<false, true>"]],
    },
    Group {
        file: "matmul/register_tiled.rs",
        users: &[],
        kernels: &["matmul_register_tiled"],
        mistakes: &[
            ["first barrier dropped", "thread::sync_threads();\n        for l", "for l"],
            ["second barrier dropped", "thread::sync_threads();\n        start +=", "start +="],
            [
                "mask of rows",
                "let inside = row < rows && column < columns;",
                "let inside = column < columns;",
            ],
            ["mask of columns", "let inside = row < rows && column < columns;", "let inside = row < rows;"],
            ["tail of k lost", "while start < k", "while start + TILE_K <= k"],
            ["a thread's rows together", "a_tile.read((y + S * i)", "a_tile.read((y * OWN + i)"],
            ["x and y swapped", "b_tile.read(l * T + x", "b_tile.read(l * T + y"],
            ["bounds of rows", "if row < m && column < n", "if column < n"],
            ["bounds of columns", "if row < m && column < n", "if row < m"],
        ],
    },
    Group {
        file: "matmul/vectorised.rs",
        users: &[],
        kernels: &["matmul_vectorised"],
        mistakes: &[
            ["first barrier dropped", "thread::sync_threads();\n        multiply", "multiply"],
            ["second barrier dropped", "thread::sync_threads();\n        start +=", "start +="],
            ["four though not aligned", "if columns.is_multiple_of(V)", "if true"],
            ["four written though not aligned", "if n.is_multiple_of(V)", "if true"],
            ["past the end of a row", "if column + i < columns", "if column + i <= columns"],
            ["past the last row", "    if row < rows {", "    if row <= rows {"],
            [
                "not turned",
                "(a_column + i) * pitch(T) + a_row",
                "(a_row / TILE_K * V + i) * pitch(T) + a_column",
            ],
            ["rows of C not bounded", "if row < m {", "if true {"],
            [
                "columns of C not bounded",
                "if column < n {\n            // SAFETY: a multiple",
                "{\n            // SAFETY: a multiple",
            ],
            [
                "one value of four",
                "mul_add(a[i][row], b[j][column], sum)",
                "mul_add(a[i][0], b[j][column], sum)",
            ],
            ["last of the tile lost", "for l in 0..TILE_K {", "for l in 0..TILE_K - 1 {"],
        ],
    },
    Group {
        file: "matmul/pipelined.rs",
        users: &[],
        kernels: &["matmul_pipelined"],
        mistakes: &[
            ["copies not waited for", "cp_async_wait_group::<PENDING>()", "cp_async_wait_group::<2>()"],
            ["a group is not closed", "        cp_async_commit();\n    };", "    };"],
            ["barrier dropped", "        thread::sync_threads();\n", ""],
            ["slot in use is filled", "copy(free, start", "copy(slot, start"],
            ["the same tile again", "start + (slots - 1) * TILE_K", "start"],
            ["last step lost", "while start < range.end", "while start + TILE_K < range.end"],
            [
                "lines not clamped",
                "(self.first + line + step).min(self.lines - 1)",
                "(self.first + line + step)",
            ],
            ["fours not clamped", "(self.first + line).min(self.lines - V)", "(self.first + line)"],
            ["four though not aligned", "} else if self.lines.is_multiple_of(V) {", "} else if true {"],
            ["A beyond k", "self.source, source, start + l < end", "self.source, source, true"],
            [
                "B beyond k",
                "cp_async4_or_zero(tile, index, self.source, l * self.lines + first, l < end)",
                "cp_async4_or_zero(tile, index, self.source, l * self.lines + first, true)",
            ],
        ],
    },
    Group {
        file: "matmul/warp_tiled.rs",
        users: &[],
        kernels: WARP_TILED,
        mistakes: &[
            ["row of warps", "warp / WARPS[1] * (tile", "warp % WARPS[1] * (tile"],
            ["lanes in the same place", "lane / 2 % LANES[0]", "lane / 4 % LANES[0]"],
            ["tile of A does not move", "lines: m, first: first_row", "lines: m, first: 0"],
            ["columns of C of the first tile", "columns.after(first_column)", "columns"],
        ],
    },
    Group {
        file: "matmul/warp_tiled.rs",
        users: &[],
        kernels: &["matmul_warp_tiled"],
        mistakes: &[["A transposed", "[false, false], a, b", "[true, false], a, b"]],
    },
    Group {
        file: "matmul/warp_tiled.rs",
        users: &[],
        kernels: &["matmul_warp_tiled_tn"],
        mistakes: &[["A not transposed", "[true, false], a, b", "[false, false], a, b"]],
    },
    Group {
        file: "matmul/warp_tiled.rs",
        users: &[],
        kernels: &["matmul_warp_tiled_nt"],
        mistakes: &[["wrong operand transposed", "[false, true], a, b", "[true, false], a, b"]],
    },
    Group {
        file: "matmul/warp_tiled.rs",
        users: &[],
        kernels: &["matmul_warp_tiled_tt"],
        mistakes: &[["B not transposed", "[true, true], a, b", "[true, false], a, b"]],
    },
    Group {
        file: "matmul/tiled.rs",
        users: &["dense/tiled.rs"],
        kernels: DENSE,
        mistakes: &[
            ["first barrier dropped", "thread::sync_threads();\n        for l", "for l"],
            ["second barrier dropped", "thread::sync_threads();\n        start += T;", "start += T;"],
            ["tail of inputs lost", "while start < k", "while start + T <= k"],
        ],
    },
    Group {
        file: "dense/tiled.rs",
        users: &[],
        kernels: DENSE,
        mistakes: &[
            ["bias by row", "epilogue.bias(column)", "epilogue.bias(row)"],
            ["bounds of rows", "if row < m && column < n", "if column < n"],
            ["bounds of columns", "if row < m && column < n", "if row < m"],
            ["transposed output", "out.write(row * n + column", "out.write(column * m + row"],
            ["weights transposed", "element::<false, false>", "element::<false, true>"],
            ["operands swapped", "input, weights);\n        if", "weights, input);\n        if"],
        ],
    },
    Group {
        file: "matmul/epilogue.rs",
        users: &["dense/tiled.rs"],
        kernels: DENSE,
        mistakes: &[["bias dropped", "G::apply(sum + bias)", "G::apply(sum)"]],
    },
    Group {
        file: "matmul/epilogue.rs",
        users: &["dense/tiled.rs"],
        kernels: &["dense_relu", "dense_sigmoid"],
        mistakes: &[["activation before the bias", "G::apply(sum + bias)", "G::apply(sum) + bias"]],
    },
    Group {
        file: "dense/tiled.rs",
        users: &[],
        kernels: &["dense_relu"],
        mistakes: &[["activation dropped", "layer::<Relu>", "layer::<Identity>"]],
    },
    Group {
        file: "dense/tiled.rs",
        users: &[],
        kernels: &["dense_sigmoid"],
        mistakes: &[
            ["activation dropped", "layer::<Sigmoid>", "layer::<Identity>"],
            ["another activation", "layer::<Sigmoid>", "layer::<Relu>"],
        ],
    },
    Group {
        file: "dense/tiled.rs",
        users: &[],
        kernels: &["dense_identity"],
        mistakes: &[["an activation", "layer::<Identity>", "layer::<Relu>"]],
    },
    Group {
        file: "dense/network.rs",
        users: &[],
        kernels: &["network"],
        mistakes: &[
            [
                "no barrier before the sums are added",
                "        }\n        thread::sync_threads();\n        for element",
                "        }\n        for element",
            ],
            [
                "no barrier before the next tile",
                "        thread::sync_threads();\n        tile +=",
                "        tile +=",
            ],
            ["no meeting of the blocks", "        sync_grid(barrier);\n        let out", "        let out"],
            ["a barrier that is not set back", "barrier.store_relaxed(0, 0);", ""],
            ["rows that are not there", ".min(batch - 1)", ""],
            ["columns that are not there", ".min(units - 1)", ""],
            ["16 bytes from anywhere", "(self.first | self.pitch).is_multiple_of(STEP) && ", ""],
            ["16 bytes beyond the row", "k + STEP <= inputs {", "k <= inputs {"],
            ["the tail of k", "if k + i < inputs { weights.read", "if k + STEP <= inputs { weights.read"],
            ["one warp's sum", "for warp in 0..WARPS {", "for warp in 1..WARPS {"],
            ["another layer's activation", "weights2, bias2, of_layer(1)", "weights2, bias2, of_layer(0)"],
            ["hidden results one on the other", "first: batch * pitch(n1)", "first: pitch(n1)"],
            ["tiles beyond the blocks", "tile += thread::grid_dim_x() as usize;", "break;"],
        ],
    },
    Group {
        file: "matmul/warp_tiled.rs",
        users: &["dense/warp_tiled.rs"],
        kernels: DENSE_WARP_TILED,
        mistakes: &[
            ["lanes in the same place", "lane / 2 % LANES[0]", "lane / 4 % LANES[0]"],
            [
                "epilogue dropped",
                "columns.after(first_column), epilogue, c)",
                "columns.after(first_column), Plain, c)",
            ],
        ],
    },
    Group {
        file: "matmul/vectorised.rs",
        users: &["matmul/pipelined.rs", "matmul/warp_tiled.rs", "dense/warp_tiled.rs"],
        kernels: DENSE_WARP_TILED,
        mistakes: &[["bias of the first column", "epilogue.bias(column + x)", "epilogue.bias(column)"]],
    },
    Group {
        file: "dense/warp_tiled.rs",
        users: &[],
        kernels: &["dense_warp_tiled_identity"],
        mistakes: &[["an activation", "Layer::<Identity>", "Layer::<Relu>"]],
    },
    Group {
        file: "dense/warp_tiled.rs",
        users: &[],
        kernels: &["dense_warp_tiled_relu"],
        mistakes: &[["activation dropped", "Layer::<Relu>", "Layer::<Identity>"]],
    },
    Group {
        file: "dense/warp_tiled.rs",
        users: &[],
        kernels: &["dense_warp_tiled_sigmoid"],
        mistakes: &[["another activation", "Layer::<Sigmoid>", "Layer::<Relu>"]],
    },
    Group {
        file: "matmul/split_k.rs",
        users: &[],
        kernels: SPLIT_K,
        mistakes: &[
            ["splits not a multiple of a step", ".next_multiple_of(TILE_K)", ""],
            ["ranges overlap", "..((split + 1) * depth).min(k)", "..((split + 1) * depth + 1).min(k)"],
            ["every split in one place", "let before = split * m;", "let before = 0;"],
            ["rows of C not bounded", "[before + m, n]", "[before + m + 1, n]"],
        ],
    },
    Group {
        file: "matmul/split_k.rs",
        users: &[],
        kernels: &["matmul_split_k"],
        mistakes: &[["A transposed", "[false, false], a, b", "[true, false], a, b"]],
    },
    Group {
        file: "matmul/split_k.rs",
        users: &["dense/split_k.rs"],
        kernels: FINISH,
        mistakes: &[
            ["last split lost", "strided(0, splits as usize, 1", "strided(0, splits as usize - 1, 1"],
            ["first split lost", "strided(0, splits as usize, 1", "strided(1, splits as usize, 1"],
            ["bounds of columns", "if row >= m || column >= n", "if row >= m"],
            [
                "partials transposed",
                "(split * m + row) * n + column",
                "(row * splits as usize + split) * n + column",
            ],
        ],
    },
    Group {
        file: "dense/split_k.rs",
        users: &[],
        kernels: &["dense_split_k_identity"],
        mistakes: &[["an activation", "Layer::<Identity>", "Layer::<Relu>"]],
    },
    Group {
        file: "dense/split_k.rs",
        users: &[],
        kernels: &["dense_split_k_relu"],
        mistakes: &[["activation dropped", "Layer::<Relu>", "Layer::<Identity>"]],
    },
    Group {
        file: "dense/split_k.rs",
        users: &[],
        kernels: &["dense_split_k_sigmoid"],
        mistakes: &[["another activation", "Layer::<Sigmoid>", "Layer::<Relu>"]],
    },
    Group {
        file: "matmul/tensor_core.rs",
        users: &[],
        kernels: TF32,
        mistakes: &[
            ["copies not waited for", "cp_async_wait_group::<PENDING>()", "cp_async_wait_group::<3>()"],
            ["barrier dropped", "        thread::sync_threads();\n", ""],
            ["slot in use is filled", "tile + (SLOTS as u32 - 1)", "tile + SLOTS as u32"],
            ["cut off, not rounded", "mul_add(x, 0.0, half_up(x))", "x"],
            ["tail of k lost", "0..k.div_ceil(TILE_K) as u32", "0..(k / TILE_K) as u32"],
            ["groups side by side", "V * chunk(line) + group % V", "chunk(line) + group % V * GROUP"],
            ["rows of C not bounded", "if row < m {", "if true {"],
            ["second half of rows", "2 * half + next", "2 * next + half"],
            ["what is not finite stays", "!acc[i][j][element].is_finite()", "false"],
        ],
    },
    Group {
        file: "matmul/tensor_core.rs",
        users: &[],
        kernels: TF32_ALONG_K,
        mistakes: &[
            [
                "beyond k",
                "cp_async4_or_zero(tile, to + step * TILE_K, source, line * k + l, l < k)",
                "cp_async4_or_zero(tile, to + step * TILE_K, source, line * k + l, true)",
            ],
            ["lines not clamped", "(line + step).min(lines - 1)", "line + step"],
            [
                "another order than it was copied in",
                "let c = in_line(step * (STEP / V) + matrix / 2, line);",
                "let c = step * (STEP / V) + matrix / 2;",
            ],
        ],
    },
    Group {
        file: "matmul/tensor_core.rs",
        users: &[],
        kernels: TF32_ALONG_LINES,
        mistakes: &[
            ["fours not clamped", "(first + c * V).min(lines - V)", "first + c * V"],
            ["the next row, not the fourth", "half * QUAD * TILE", "half * TILE"],
        ],
    },
    Group {
        file: "matmul/tensor_core.rs",
        users: &[],
        kernels: &["matmul_tf32"],
        mistakes: &[["A transposed", "[m, n, k], [false, false], a", "[m, n, k], [true, false], a"]],
    },
    Group {
        file: "matmul/tensor_core.rs",
        users: &[],
        kernels: &["matmul_tf32_tn"],
        mistakes: &[["A not transposed", "[m, n, k], [true, false], a", "[m, n, k], [false, false], a"]],
    },
    Group {
        file: "matmul/tf32x3.rs",
        users: &[],
        kernels: TF32X3,
        mistakes: &[
            [
                "small part of A lost",
                "sums[i] = mma_m16n8k8(a[i][1], b_big, sums[i]);",
                "sums[i] = [0.0; 4];",
            ],
            ["small part of B lost", "mma_m16n8k8(a[i][0], b_small, sums[i])", "sums[i]"],
            ["large part not cut off", "half_up(x).to_bits() & KEPT", "half_up(x).to_bits()"],
            ["only the last sum", "+= sums[i][element]", "= sums[i][element]"],
            ["second step lost", "0..opaque(STEPS) as u32", "0..1_u32"],
            [
                "corrections last",
                "mma_m16n8k8(a[i][1], b_big, sums[i]);
                    }
                    for i in 0..2 {
                        sums[i] = mma_m16n8k8(a[i][0], b_small, sums[i]);
                    }
                    for i in 0..2 {
                        sums[i] = mma_m16n8k8(a[i][0], b_big, sums[i]);",
                "mma_m16n8k8(a[i][0], b_big, sums[i]);
                    }
                    for i in 0..2 {
                        sums[i] = mma_m16n8k8(a[i][0], b_small, sums[i]);
                    }
                    for i in 0..2 {
                        sums[i] = mma_m16n8k8(a[i][1], b_big, sums[i]);",
            ],
        ],
    },
    Group {
        file: "matmul/tf32x3.rs",
        users: &[],
        kernels: &["matmul_tf32x3_nt"],
        mistakes: &[["B not transposed", "[m, n, k], [false, true], a", "[m, n, k], [false, false], a"]],
    },
    Group {
        file: "matmul/wgmma.rs",
        users: &[],
        kernels: WGMMA,
        mistakes: &[
            ["barrier dropped", "        thread::sync_threads();\n", ""],
            ["writes not fenced", "        fence_proxy_async();\n        next", "        next"],
            ["first writes not fenced", "    fence_proxy_async();\n    let mut next", "    let mut next"],
            ["registers not fenced", "        wgmma_fence(&mut sums, [big, small].as_flattened());\n", ""],
            ["products not committed", "        wgmma_commit();\n", ""],
            ["products not waited for", "        wgmma_wait(&mut sums, [big, small].as_flattened());\n", ""],
            ["slot in use is filled", "fill(slots, slot(tile + 1),", "fill(slots, slot(tile),"],
            ["one slot for all tiles", "tile as usize % SLOTS * SLOT", "0"],
            ["slots overlap", "tile as usize % SLOTS * SLOT", "tile as usize % SLOTS * VALUES"],
            ["the slot before", "let this = slot(tile);", "let this = slot(tile + 1);"],
            ["parts of B swapped", "let [b_big, b_small]", "let [b_small, b_big]"],
            ["large part of B twice", "parts(b_chunks[x])[1]", "parts(b_chunks[x])[0]"],
            ["parts of A swapped", "let [big, small] = fragments", "let [small, big] = fragments"],
            [
                "small part of A lost",
                "wgmma_m64n128k8(&mut sums, step > 0, small[step], slots, b_big, step * STEP);\n",
                "",
            ],
            [
                "small part of B lost",
                "wgmma_m64n128k8(&mut sums, true, big[step], slots, b_small, step * STEP);\n",
                "",
            ],
            [
                "large parts lost",
                "wgmma_m64n128k8(&mut sums, true, big[step], slots, b_big, step * STEP);\n",
                "",
            ],
            ["each step begins anew", "step > 0, small", "false, small"],
            [
                "corrections last",
                "wgmma_m64n128k8(&mut sums, step > 0, small[step], slots, b_big, step * STEP);
                wgmma_m64n128k8(&mut sums, true, big[step], slots, b_small, step * STEP);
            }
            for step in 0..STEPS {
                wgmma_m64n128k8(&mut sums, true, big[step], slots, b_big, step * STEP);
",
                "wgmma_m64n128k8(&mut sums, step > 0, big[step], slots, b_big, step * STEP);
            }
            for step in 0..STEPS {
                wgmma_m64n128k8(&mut sums, true, small[step], slots, b_big, step * STEP);
                wgmma_m64n128k8(&mut sums, true, big[step], slots, b_small, step * STEP);
",
            ],
            ["first step lost", "step > 0, small", "step > 1, small"],
            [
                "large products begin anew",
                "true, big[step], slots, b_big",
                "step > 0, big[step], slots, b_big",
            ],
            ["first step of B for all", "big[step], slots, b_big, step * STEP", "big[step], slots, b_big, 0"],
            ["first step of A for all", "big[step], slots, b_big", "big[0], slots, b_big"],
            ["only the last sum", "+= sums[j][element]", "= sums[j][element]"],
            ["tail of k lost", "let tiles = k.div_ceil(TILE_K) as u32;", "let tiles = (k / TILE_K) as u32;"],
            ["no zeros beyond k", "[[0.0; V]; LINES]", "[[1.0; V]; LINES]"],
            [
                "one by one beyond k",
                "if l + y < k {\n                        for x",
                "if true {\n                        for x",
            ],
            [
                "tail of four lost",
                "if l + y < k {\n                        for x",
                "if l + V <= k {\n                        for x",
            ],
            [
                "one by one not clamped",
                "self.operand.value((line + x * self.next).min(lines - 1), l + y)",
                "self.operand.value(line + x * self.next, l + y)",
            ],
            ["always the first tile", "tile as usize * TILE_K + V", "0 * tile as usize + V"],
            ["first tile twice", "share.load(1)", "share.load(0)"],
            ["second tile for ever", "share.load(tile + 2)", "share.load(1)"],
            ["lines in each other's places", "2 * chunk % GROUP +", "chunk % GROUP +"],
            ["lines where nobody looks", "2 * chunk % GROUP + chunk / (GROUP / 2)", "chunk"],
            ["stored as they are", "V * (chunk ^ (place % GROUP))", "V * chunk"],
            ["A in another order", "V * (c ^ line)", "V * c"],
            [
                "the next quarter of A",
                "step * (STEP / V) + matrix / 2",
                "step * (STEP / V) + (matrix / 2 ^ 1)",
            ],
            ["second half of rows", "matrix % 2 * GROUP + line", "(matrix % 2 ^ 1) * GROUP + line"],
            ["first warpgroup's rows", "(warp * WARP_ROWS + matrix", "(warp % 4 * WARP_ROWS + matrix"],
            ["rows of C overlap", "line_of(warp * WARP_ROWS / GROUP,", "line_of(warp,"],
            ["columns of C overlap", "line_of(0, 2 * (lane % QUAD))", "line_of(0, lane % QUAD)"],
            ["rows of C not bounded", "store(&acc, [m, n]", "store(&acc, [m + 1, n]"],
            ["rows of the first block", "lines: m, first: first_row", "lines: m, first: 0"],
            ["columns of the first block", "lines: n, first: first_column", "lines: n, first: 0"],
            [
                "what is not finite stays",
                "        again_if_not_finite(&acc, [m, n, k], place, [a, b], epilogue, c);\n",
                "",
            ],
        ],
    },
    Group {
        file: "matmul/wgmma.rs",
        users: &[],
        kernels: WGMMA_ALONG_K,
        mistakes: &[
            ["beyond k", "if l < k {\n                    for x", "if true {\n                    for x"],
            ["lines not clamped", "(line + x * self.next).min(lines - 1) * k", "(line + x * self.next) * k"],
            ["the next line, not the next span", "(chunk, line, SPAN,", "(chunk, line, 1,"],
            ["groups side by side", "line % V * GROUP + place_of(line)", "line"],
            ["fours at any k", "if along_k && k.is_multiple_of(V)", "if along_k"],
        ],
    },
    Group {
        file: "matmul/wgmma.rs",
        users: &[],
        kernels: WGMMA_ALONG_LINES,
        mistakes: &[
            ["not turned", "chunks[x][y] = values[x]", "chunks[y][x] = values[x]"],
            [
                "fours beyond k",
                "if l + y < k {\n                        let",
                "if true {\n                        let",
            ],
            ["fours not clamped", "let line = line.min(lines - V);\n", ""],
            ["one span", "V * four / SPAN * SPAN + place_of", "place_of"],
            [
                "lines of a four side by side",
                "place_of(V * four % SPAN), GROUP)",
                "place_of(V * four % SPAN), 1)",
            ],
            ["fours of any line", "if !along_k && lines.is_multiple_of(V)", "if !along_k"],
        ],
    },
    Group {
        file: "matmul/wgmma.rs",
        users: &[],
        kernels: &["matmul_wgmma"],
        mistakes: &[["A transposed", "[m, n, k], [false, false], a", "[m, n, k], [true, false], a"]],
    },
    Group {
        file: "matmul/wgmma.rs",
        users: &[],
        kernels: &["matmul_wgmma_tn"],
        mistakes: &[["A not transposed", "[m, n, k], [true, false], a", "[m, n, k], [false, false], a"]],
    },
    Group {
        file: "matmul/wgmma.rs",
        users: &[],
        kernels: &["matmul_wgmma_nt"],
        mistakes: &[["B not transposed", "[m, n, k], [false, true], a", "[m, n, k], [false, false], a"]],
    },
    Group {
        file: "matmul/wgmma.rs",
        users: &[],
        kernels: &["matmul_wgmma_tt"],
        mistakes: &[["A not transposed", "[m, n, k], [true, true], a", "[m, n, k], [false, true], a"]],
    },
    Group {
        file: "matmul/tensor_core.rs",
        users: &["matmul/wgmma.rs"],
        kernels: WGMMA,
        mistakes: &[
            ["groups of the first span", "group / V * SPAN + V", "V"],
            ["columns of the first span", "for four in 0..COLUMNS / V", "for four in 0..1"],
            ["what is not finite, of another column", "bit / 4 % COLUMNS", "bit / 4 % GROUP"],
            ["what is not finite, of another row", "place.row(i, bit / 2 % 2)", "place.row(i, 0)"],
        ],
    },
    Group {
        file: "matmul/bf16.rs",
        users: &[],
        kernels: BF16,
        mistakes: &[
            ["halves swapped", "|[low, high]| pack_bf16(low, high)", "|[low, high]| pack_bf16(high, low)"],
            [
                "first step twice",
                "[0, 1].map(|step| all_spans(&a, step))",
                "[0, 0].map(|step| all_spans(&a, step))",
            ],
            ["rows swapped", "pack_bf16(x0, x1), pack_bf16(y0, y1)", "pack_bf16(y0, y1), pack_bf16(x0, x1)"],
            ["one value twice", "pack_bf16(x2, x3)", "pack_bf16(x2, x2)"],
        ],
    },
    Group {
        file: "matmul/bf16.rs",
        users: &[],
        kernels: &["matmul_bf16_tt"],
        mistakes: &[["A not transposed", "[m, n, k], [true, true], a", "[m, n, k], [false, true], a"]],
    },
    Group {
        file: "matmul/tensor_core.rs",
        users: &["matmul/tf32x3.rs", "matmul/bf16.rs", "dense/tensor_core.rs"],
        kernels: DENSE_TENSOR_CORE,
        mistakes: &[
            ["bias of the first column", "epilogue.bias(column + x)", "epilogue.bias(column)"],
            [
                "epilogue dropped",
                "epilogue.apply(acc[i][four * V + x][2 * half + next], bias[x])",
                "acc[i][four * V + x][2 * half + next]",
            ],
            ["weights of the first tile", "lines: n, first: first_column, k", "lines: n, first: 0, k"],
        ],
    },
    Group {
        file: "dense/tensor_core.rs",
        users: &[],
        kernels: &["dense_tf32_identity"],
        mistakes: &[[
            "an activation",
            "Layer::<Identity>::new(bias);\n    multiply::<Tf32, _>",
            "Layer::<Relu>::new(bias);\n    multiply::<Tf32, _>",
        ]],
    },
    Group {
        file: "dense/tensor_core.rs",
        users: &[],
        kernels: &["dense_tf32_relu"],
        mistakes: &[[
            "activation dropped",
            "Layer::<Relu>::new(bias);\n    multiply::<Tf32, _>",
            "Layer::<Identity>::new(bias);\n    multiply::<Tf32, _>",
        ]],
    },
    Group {
        file: "dense/tensor_core.rs",
        users: &[],
        kernels: &["dense_tf32_sigmoid"],
        mistakes: &[[
            "another activation",
            "Layer::<Sigmoid>::new(bias);\n    multiply::<Tf32, _>",
            "Layer::<Relu>::new(bias);\n    multiply::<Tf32, _>",
        ]],
    },
    Group {
        file: "dense/tensor_core.rs",
        users: &[],
        kernels: &["dense_tf32x3_identity"],
        mistakes: &[[
            "an activation",
            "Layer::<Identity>::new(bias);\n    multiply::<Tf32x3, _>",
            "Layer::<Relu>::new(bias);\n    multiply::<Tf32x3, _>",
        ]],
    },
    Group {
        file: "dense/tensor_core.rs",
        users: &[],
        kernels: &["dense_tf32x3_relu"],
        mistakes: &[[
            "activation dropped",
            "Layer::<Relu>::new(bias);\n    multiply::<Tf32x3, _>",
            "Layer::<Identity>::new(bias);\n    multiply::<Tf32x3, _>",
        ]],
    },
    Group {
        file: "dense/tensor_core.rs",
        users: &[],
        kernels: &["dense_tf32x3_sigmoid"],
        mistakes: &[[
            "another activation",
            "Layer::<Sigmoid>::new(bias);\n    multiply::<Tf32x3, _>",
            "Layer::<Relu>::new(bias);\n    multiply::<Tf32x3, _>",
        ]],
    },
    Group {
        file: "dense/tensor_core.rs",
        users: &[],
        kernels: &["dense_bf16_identity"],
        mistakes: &[[
            "an activation",
            "Layer::<Identity>::new(bias);\n    multiply::<Bf16, _>",
            "Layer::<Relu>::new(bias);\n    multiply::<Bf16, _>",
        ]],
    },
    Group {
        file: "dense/tensor_core.rs",
        users: &[],
        kernels: &["dense_bf16_relu"],
        mistakes: &[[
            "activation dropped",
            "Layer::<Relu>::new(bias);\n    multiply::<Bf16, _>",
            "Layer::<Identity>::new(bias);\n    multiply::<Bf16, _>",
        ]],
    },
    Group {
        file: "dense/tensor_core.rs",
        users: &[],
        kernels: &["dense_bf16_sigmoid"],
        mistakes: &[[
            "another activation",
            "Layer::<Sigmoid>::new(bias);\n    multiply::<Bf16, _>",
            "Layer::<Relu>::new(bias);\n    multiply::<Bf16, _>",
        ]],
    },
    Group {
        file: "matmul/wgmma.rs",
        users: &["dense/wgmma.rs"],
        kernels: DENSE_WGMMA,
        mistakes: &[
            ["epilogue dropped", "[m, n], place, epilogue, c", "[m, n], place, Plain, c"],
            ["epilogue of what is not finite", "[a, b], epilogue, c", "[a, b], Plain, c"],
            ["barrier dropped", "        thread::sync_threads();\n", ""],
            ["small part of B lost", "true, big[step], slots, b_small", "true, small[step], slots, b_small"],
            ["weights of the first block", "lines: n, first: first_column", "lines: n, first: 0"],
        ],
    },
    Group {
        file: "matmul/tensor_core.rs",
        users: &["matmul/wgmma.rs", "dense/wgmma.rs"],
        kernels: DENSE_WGMMA,
        mistakes: &[["bias of the first column", "epilogue.bias(column + x)", "epilogue.bias(column)"]],
    },
    Group {
        file: "dense/wgmma.rs",
        users: &[],
        kernels: &["dense_wgmma_identity"],
        mistakes: &[
            ["an activation", "Layer::<Identity>", "Layer::<Relu>"],
            [
                "weights transposed",
                "Layer::<Identity>::new(bias);\n    multiply([batch, units, inputs], [false, false]",
                "Layer::<Identity>::new(bias);\n    multiply([batch, units, inputs], [false, true]",
            ],
            [
                "operands swapped",
                "Layer::<Identity>::new(bias);\n    multiply([batch, units, inputs], [false, false], input, weights",
                "Layer::<Identity>::new(bias);\n    multiply([batch, units, inputs], [false, false], weights, input",
            ],
        ],
    },
    Group {
        file: "dense/wgmma.rs",
        users: &[],
        kernels: &["dense_wgmma_relu"],
        mistakes: &[
            ["activation dropped", "Layer::<Relu>", "Layer::<Identity>"],
            [
                "weights transposed",
                "Layer::<Relu>::new(bias);\n    multiply([batch, units, inputs], [false, false]",
                "Layer::<Relu>::new(bias);\n    multiply([batch, units, inputs], [false, true]",
            ],
            [
                "operands swapped",
                "Layer::<Relu>::new(bias);\n    multiply([batch, units, inputs], [false, false], input, weights",
                "Layer::<Relu>::new(bias);\n    multiply([batch, units, inputs], [false, false], weights, input",
            ],
        ],
    },
    Group {
        file: "dense/wgmma.rs",
        users: &[],
        kernels: &["dense_wgmma_sigmoid"],
        mistakes: &[
            ["another activation", "Layer::<Sigmoid>", "Layer::<Relu>"],
            [
                "weights transposed",
                "Layer::<Sigmoid>::new(bias);\n    multiply([batch, units, inputs], [false, false]",
                "Layer::<Sigmoid>::new(bias);\n    multiply([batch, units, inputs], [false, true]",
            ],
            [
                "operands swapped",
                "Layer::<Sigmoid>::new(bias);\n    multiply([batch, units, inputs], [false, false], input, weights",
                "Layer::<Sigmoid>::new(bias);\n    multiply([batch, units, inputs], [false, false], weights, input",
            ],
        ],
    },
    Group {
        file: "training/team.rs",
        users: &["training/gather.rs", "training/softmax.rs"],
        kernels: &["gather", "gather_scaled", "output_error_softmax", "softmax"],
        mistakes: &[
            ["block index dropped", "thread::block_idx_x() as usize * rows_of_block(lanes) + warp", "warp"],
            ["warps overlap", "warp::warp_id() as usize * (WARP / lanes)", "warp::warp_id() as usize"],
            ["teams overlap", "(lane / lanes, lane % lanes)", "(lane / lanes, lane / lanes)"],
        ],
    },
    Group {
        file: "training/team.rs",
        users: &["training/softmax.rs"],
        kernels: &["output_error_softmax", "softmax"],
        mistakes: &[
            ["half a team", "(value, lanes as u32 / 2)", "(value, lanes as u32 / 4)"],
            ["two teams", "(value, lanes as u32 / 2)", "(value, lanes as u32)"],
            ["a step dropped", "while distance > 0", "while distance > 1"],
        ],
    },
    Group {
        file: "training/gather.rs",
        users: &[],
        kernels: &["gather", "gather_scaled"],
        mistakes: &[
            ["row numbers dropped", "unsafe { rows.read(row) } as usize * n", "row * n"],
            ["bounds off by one", "if row >= m as usize", "if row > m as usize"],
            ["last row lost", "if row >= m as usize", "if row + 1 >= m as usize"],
            ["tail of a row lost", "while column < n", "while column + 1 < n"],
            ["end of a wide row lost", "column += lanes * width", "column += n"],
            ["three of four", "column += lanes * width", "column += lanes"],
            ["unaligned vectors", "if n.is_multiple_of(V)", "if n.is_multiple_of(2)"],
        ],
    },
    Group {
        file: "training/gather.rs",
        users: &[],
        kernels: &["gather_scaled"],
        mistakes: &[
            ["mean dropped", "(x - self.mean.read(column)) / ", "x / "],
            ["multiplied", "(x[i] - mean[i]) / deviation[i]", "(x[i] - mean[i]) * deviation[i]"],
            ["one of four", "(x[i] - mean[i]) / deviation[i]", "(x[i] - mean[0]) / deviation[i]"],
            ["another column", "self.deviation.read(column)", "self.deviation.read(0)"],
        ],
    },
    Group {
        file: "training/output_error.rs",
        users: &[],
        kernels: &["output_error_identity", "output_error_sigmoid"],
        mistakes: &[
            ["not divided", "z.write(i, e / m as f32)", "z.write(i, e)"],
            ["divided by all", "z.write(i, e / m as f32)", "z.write(i, e / (m * n) as f32)"],
            ["losses dropped", "acc[slot] = sum;", "acc[slot] = 0.0 * sum;"],
            [
                "the other sign",
                "L::error(z.read(i), y.read(i), acc[slot])",
                "L::error(y.read(i), z.read(i), acc[slot])",
            ],
            [
                "end lost",
                "m as usize * n as usize, |slot, i|",
                "(m as usize * n as usize).saturating_sub(1), |slot, i|",
            ],
            [
                "one place for all blocks",
                "partials.write(thread::block_idx_x() as usize, total)",
                "partials.write(0, total)",
            ],
        ],
    },
    Group {
        file: "training/output_error.rs",
        users: &[],
        kernels: &["output_error_sigmoid"],
        mistakes: &[
            ["labels that have no loss", "if (0.0..=1.0).contains(&y) { y } else { f32::NAN }", "y"],
            ["labels above 1", "(0.0..=1.0)", "(0.0..=f32::MAX)"],
            ["labels below 0", "(0.0..=1.0)", "(f32::MIN..=1.0)"],
            ["label 1 left out", "(0.0..=1.0)", "(0.0..1.0)"],
        ],
    },
    Group {
        file: "training/output_error.rs",
        users: &[],
        kernels: &["cost"],
        mistakes: &[
            ["another place", "costs.write(at as usize,", "costs.write(at as usize + 1,"],
            ["not divided", "total / m.max(1) as f32", "total"],
            [
                "last partial sum lost",
                "grid_stride(blocks as usize, |slot, i|",
                "grid_stride((blocks as usize).saturating_sub(1), |slot, i|",
            ],
            ["divided by nothing", "total / m.max(1) as f32", "total / m as f32"],
            [
                "accumulators dropped",
                "block_sum(join(acc));\n    if thread::thread_idx_x() == 0 {\n        costs",
                "block_sum(acc[0]);\n    if thread::thread_idx_x() == 0 {\n        costs",
            ],
        ],
    },
    Group {
        file: "training/softmax.rs",
        users: &[],
        kernels: &["output_error_softmax", "softmax"],
        mistakes: &[
            ["largest dropped", "acc[slot] += float::exp(z - most)", "acc[slot] += float::exp(z)"],
            ["one twice", "if column as u32 != at", "if column as u32 != at + 1"],
            ["all of the largest left out", "if column as u32 != at", "if z != most"],
            ["smaller for larger", "if b.0 > a.0 ||", "if b.0 < a.0 ||"],
            ["columns not compared", "(b.0 == a.0 && b.1 < a.1)", "b.0 == a.0"],
            ["lane's slots lost", "for slot in 1..LOADS", "for slot in 2..LOADS"],
            [
                "rows of the first round alone",
                "first += thread::grid_dim_x() as usize * rows_of_block(lanes)",
                "first += m",
            ],
            ["columns of no row", "if row < m { n } else { 0 }", "n"],
        ],
    },
    Group {
        file: "training/softmax.rs",
        users: &[],
        kernels: &["softmax"],
        mistakes: &[
            [
                "one forgotten",
                "float::exp(value - most) / (1.0 + others));",
                "float::exp(value - most) / others);",
            ],
            ["not divided", "float::exp(value - most) / (1.0 + others));", "float::exp(value - most));"],
        ],
    },
    Group {
        file: "training/softmax.rs",
        users: &[],
        kernels: &["output_error_softmax"],
        mistakes: &[
            ["not divided", "z.write(row.start + column, e / samples)", "z.write(row.start + column, e)"],
            ["divided by the columns", "e / samples)", "e / n as f32)"],
            ["target dropped", "/ (1.0 + others) - target", "/ (1.0 + others)"],
            ["a class further", "right = column as f32 == class", "right = column as f32 == class + 1.0"],
            ["first row's class", "y.read(row)", "y.read(0)"],
            ["largest instead of the class", "losses += behind + ln", "losses += 0.0 * behind + ln"],
            ["losses of all lanes", "if lane == 0 && row.columns > 0", "if row.columns > 0"],
            ["losses of no rows", "if lane == 0 && row.columns > 0", "if lane == 0"],
            ["a lane's class alone", "if other < least { other } else { least }", "least"],
            ["a class that is none", "if row.has(class) { others } else { f32::NAN }", "others"],
            ["digits of 1 + t alone", "ln_1p(if beyond { fraction } else { t })", "ln_1p(fraction)"],
            ["power of two dropped", "mul_add(k, core::f32::consts::LN_2, ln)", "ln"],
            [
                "one place for all blocks",
                "partials.write(thread::block_idx_x() as usize, total)",
                "partials.write(0, total)",
            ],
        ],
    },
    Group {
        file: "training/fours.rs",
        users: &["training/backward.rs", "training/update.rs"],
        kernels: &["backward_relu", "backward_sigmoid", "update_descent", "update_momentum", "update_adam"],
        mistakes: &[
            ["threads overlap", "V * element()", "element()"],
            [
                "beyond the end",
                "if first + i < count {\n            // SAFETY: in range.\n            unsafe { out",
                "if first + i <= count {\n            // SAFETY: in range.\n            unsafe { out",
            ],
            [
                "rest not written",
                "for i in 0..V {\n        if first + i < count {\n            // SAFETY: in range.\n            unsafe { out",
                "for i in 0..0 {\n        if first + i < count {\n            // SAFETY: in range.\n            unsafe { out",
            ],
            [
                "vector past the end",
                "if first + V <= count {\n        // SAFETY: four elements are there.\n        return unsafe { source",
                "if first < count {\n        // SAFETY: four elements are there.\n        return unsafe { source",
            ],
        ],
    },
    Group {
        file: "training/backward.rs",
        users: &[],
        kernels: &["backward_relu"],
        mistakes: &[
            ["slope of 0 at 0 lost", "if a > 0.0 { d }", "if a >= 0.0 { d }"],
            ["the other side", "if a > 0.0 { d }", "if a < 0.0 { d }"],
            ["output instead", "if a > 0.0 { d }", "if a > 0.0 { a }"],
            ["gradient's sign", "if a > 0.0 { d }", "if d > 0.0 { d }"],
        ],
    },
    Group {
        file: "training/backward.rs",
        users: &[],
        kernels: &["backward_sigmoid"],
        mistakes: &[
            ["slope halved", "d * (a * (1.0 - a))", "d * a"],
            ["other side alone", "d * (a * (1.0 - a))", "d * (1.0 - a)"],
            ["sign", "d * (a * (1.0 - a))", "d * (a * (1.0 + a))"],
            ["gradient dropped", "d * (a * (1.0 - a))", "a * (1.0 - a)"],
        ],
    },
    Group {
        file: "training/update.rs",
        users: &[],
        kernels: &["update_descent"],
        mistakes: &[
            ["uphill", "mul_add(-learning_rate, mul_add(l2", "mul_add(learning_rate, mul_add(l2"],
            ["penalty dropped", "mul_add(l2, w[i], g[i]), w[i])", "g[i], w[i])"],
            ["penalty of the gradient", "mul_add(l2, w[i], g[i]), w[i])", "mul_add(l2, g[i], g[i]), w[i])"],
            ["decay instead", "mul_add(l2, w[i], g[i]), w[i])", "g[i], w[i] - l2 * w[i])"],
        ],
    },
    Group {
        file: "training/update.rs",
        users: &[],
        kernels: &["update_momentum"],
        mistakes: &[
            ["momentum dropped", "mul_add(momentum, v[i], mul_add", "mul_add(0.0, v[i], mul_add"],
            [
                "damped",
                "mul_add(momentum, v[i], mul_add(l2, w[i], g[i]))",
                "mul_add(momentum, v[i], (1.0 - momentum) * mul_add(l2, w[i], g[i]))",
            ],
            ["velocity not kept", "write(v, velocity, first, count)", "write(g, velocity, first, count)"],
            ["uphill", "mul_add(-learning_rate, v[i]", "mul_add(learning_rate, v[i]"],
            ["gradient instead", "mul_add(-learning_rate, v[i]", "mul_add(-learning_rate, g[i]"],
        ],
    },
    Group {
        file: "training/update.rs",
        users: &[],
        kernels: &["update_adam"],
        mistakes: &[
            ["not squared", "rest2 * (g * g)", "rest2 * g"],
            ["rates swapped", "mul_add(beta1, p[i], rest1 * g)", "mul_add(beta2, p[i], rest1 * g)"],
            ["root dropped", "float::sqrt(q[i]) + epsilon", "q[i] + epsilon"],
            ["epsilon under the root", "float::sqrt(q[i]) + epsilon", "float::sqrt(q[i] + epsilon)"],
            ["penalty dropped", "let g = mul_add(l2, w[i], g[i])", "let g = g[i]"],
            [
                "states swapped",
                "write(p, mean, first, count);\n    write(q, square",
                "write(q, mean, first, count);\n    write(p, square",
            ],
            ["uphill", "mul_add(-learning_rate, p[i]", "mul_add(learning_rate, p[i]"],
        ],
    },
];
