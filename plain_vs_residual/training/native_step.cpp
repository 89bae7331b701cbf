// Forward and backward pass of a plain or residual network of 3x3 layers, from images to pooled features.
//
// Images are the vector. Activations, and gradients to them, lie in memory as
//     [block of images][pixel][channel][image of the block],
// so that one instruction computes one channel of one pixel of many images, and a convolution leaves out the taps
// that fall outside of an image. A row is what belongs to one pixel and channel of a block: IMAGES numbers.
//
// Numbers in memory are fp32 or, with -DBF16, bf16, which the processor must multiply (AVX512-bf16). All sums are
// fp32. In bf16 that is rounded which torch's autocast rounds: weights, images, what each convolution, BN and
// addition gives, and the gradients to it. Parameters, their gradients and BN statistics are torch's, in fp32;
// weights in the order [output channel][tap][input channel], which torch calls channels_last.
//
// Everything is computed by one thread; runs are trained side by side.

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#ifdef __AVX512F__
constexpr int LANES = 16;  // fp32 numbers in a register
constexpr int GROUP = 8;   // channels that are computed together: as many as the registers hold
#else
constexpr int LANES = 8, GROUP = 4;
#endif
constexpr int IMAGES = 2 * LANES;                                         // of a block
typedef float Vector __attribute__((vector_size(4 * LANES), may_alias));  // half a row
static const Vector ZERO = {};

// ---- numbers in memory --------------------------------------------------------------------------------------
// A word holds PER_WORD numbers; multiply_add() adds to each lane the product of two words. In memory, the numbers
// of a word belong to neighbouring images; load_words() puts those of neighbouring channels side by side instead.

#ifdef BF16
typedef uint16_t Number;
typedef uint32_t Word __attribute__((may_alias));
constexpr int PER_WORD = 2;

static Vector widened(__m256i numbers) {  // bf16 is the upper half of fp32
    return (Vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(numbers), 16);
}
static Vector load(const Number* row, int half) { return widened(((const __m256i*)row)[half]); }
static void store(Number* row, const Vector* halves) {
    *(__m512i*)row = (__m512i)_mm512_cvtne2ps_pbh(halves[1], halves[0]);
}
static Vector rounded(Vector values) { return widened((__m256i)_mm512_cvtneps_pbh(values)); }
static Number rounded(float value) {  // to the nearest, ties to even; NaN stays NaN
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bool nan = (bits & 0x7fffffff) > 0x7f800000;
    return (nan ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
struct Order {  // 0, IMAGES, 1, IMAGES + 1, and so on
    Number of[2 * IMAGES];
    constexpr Order() : of() {
        for (int i = 0; i < 2 * IMAGES; i++) of[i] = i / 2 + i % 2 * IMAGES;
    }
};
alignas(64) static constexpr Order SIDE_BY_SIDE;
static void load_words(const Number* rows, Vector* halves) {
    auto *from = (const __m512i*)rows, *order = (const __m512i*)SIDE_BY_SIDE.of;
    for (int half = 0; half < 2; half++)
        halves[half] = (Vector)_mm512_permutex2var_epi16(from[0], order[half], from[1]);
}
static Vector multiply_add(Vector sum, Vector words, Word by) {
    return _mm512_dpbf16_ps(sum, (__m512bh)words, (__m512bh)_mm512_set1_epi32(by));
}
#else
typedef float Number;
typedef float Word;
constexpr int PER_WORD = 1;

static Vector load(const Number* row, int half) { return ((const Vector*)row)[half]; }
static void store(Number* row, const Vector* halves) {
    for (int half = 0; half < 2; half++) ((Vector*)row)[half] = halves[half];
}
static Vector rounded(Vector values) { return values; }
static Number rounded(float value) { return value; }
static void load_words(const Number* row, Vector* halves) {
    for (int half = 0; half < 2; half++) halves[half] = load(row, half);
}
static Vector multiply_add(Vector sum, Vector words, Word by) { return sum + words * by; }
#endif
constexpr int WORDS = IMAGES / PER_WORD;  // of a row

static float& lane(Vector* halves, int image) { return ((float*)halves)[image]; }
static float sum_of_lanes(Vector values) {
    float sum = 0;
    for (int lane = 0; lane < LANES; lane++) sum += values[lane];
    return sum;
}

struct Activation {  // or the gradient to one
    Number* rows;
    int blocks, size, channels;  // blocks of images; side of the images

    int pixels() const { return blocks * size * size; }  // of all blocks
    size_t numbers() const { return (size_t)pixels() * channels * IMAGES; }
    Activation with(Number* others) const { return {others, blocks, size, channels}; }
    int pixel(int block, int y, int x) const { return (block * size + y) * size + x; }
    Number* row(int pixel, int channel) const { return rows + ((size_t)pixel * channels + channel) * IMAGES; }
};

struct Memory {  // of a network; zeros
    struct alignas(64) Line { char bytes[64]; };
    std::vector<std::vector<Line>> taken;

    template <class Item> Item* take(size_t number) {
        taken.emplace_back(number * sizeof(Item) / sizeof(Line) + 1);
        return (Item*)taken.back().data();
    }
    Activation take(int blocks, int size, int channels) {
        Activation taken = {nullptr, blocks, size, channels};
        return taken.with(take<Number>(taken.numbers()));
    }
};

// ---- convolution --------------------------------------------------------------------------------------------

struct Tap {
    int tap, at;  // which row (or column) of the kernel falls onto which row of the other image
};
typedef std::vector<std::vector<Tap>> Taps;  // for each row of an image, without those that fall outside

struct Kernel {  // of size x size taps, padded so that a stride of 1 keeps the size of an image
    int size, stride;
    Taps forward, backward;  // for each row of the output, and of the input

    Kernel(int size, int stride, int in_size)
        : size(size), stride(stride), forward((in_size - 1) / stride + 1), backward(in_size) {
        for (int out = 0; out < (int)forward.size(); out++)
            for (int tap = 0; tap < size; tap++) {
                int in = out * stride + tap - size / 2;
                if (in < 0 || in >= in_size) continue;
                forward[out].push_back({tap, in});
                backward[in].push_back({tap, out});
            }
    }
};

// Convolve x to y. Backward, the same computes from the gradient to the output that to the input.
static void convolve(const Activation& x, const Taps& taps, int kernel, const Word* weights,
                     const Activation& y) {
    const int words = x.channels / PER_WORD;
    for (int block = 0; block < x.blocks; block++)
        for (int channel = 0; channel < y.channels; channel += GROUP)
            for (int row = 0; row < y.size; row++)
                for (int column = 0; column < y.size; column++) {
                    Vector sums[GROUP][2] = {};
                    for (Tap down : taps[row])
                        for (Tap right : taps[column]) {
                            auto* from = x.row(x.pixel(block, down.at, right.at), 0);
                            int tap = down.tap * kernel + right.tap;
                            auto* weight = weights + (channel * kernel * kernel + tap * GROUP) * words;
                            for (int word = 0; word < words; word++, weight += GROUP) {
                                Vector halves[2];
                                load_words(from + word * PER_WORD * IMAGES, halves);
                                for (int i = 0; i < GROUP; i++)
                                    for (int half = 0; half < 2; half++)
                                        sums[i][half] = multiply_add(sums[i][half], halves[half], weight[i]);
                            }
                        }
                    const int pixel = y.pixel(block, row, column);
                    for (int i = 0; i < GROUP; i++) store(y.row(pixel, channel + i), sums[i]);
                }
}

// Arrange rounded weights (outs, taps, ins) for convolve(): [group of outs][tap][word of ins][out of group].
static void arrange(const Number* weights, int outs, int taps, int ins, Word* arranged) {
    const int words = ins / PER_WORD;
    for (int out = 0; out < outs; out += GROUP)
        for (int tap = 0; tap < taps; tap++)
            for (int word = 0; word < words; word++)
                for (int i = 0; i < GROUP; i++)
                    *arranged++ = ((const Word*)weights)[((out + i) * taps + tap) * words + word];
}

// The same for the way back, from outs to ins: [group of ins][tap][word of outs][in of group].
static void arrange_backward(const Number* weights, int outs, int taps, int ins, Word* arranged) {
    auto* numbers = (Number*)arranged;
    for (int in = 0; in < ins; in += GROUP)
        for (int tap = 0; tap < taps; tap++)
            for (int out = 0; out < outs; out += PER_WORD)
                for (int i = 0; i < GROUP; i++)
                    for (int o = 0; o < PER_WORD; o++)
                        *numbers++ = weights[((out + o) * taps + tap) * ins + in + i];
}

// Arrange x for convolve_gradients(): [pixel][word of images][channel], with room for width channels.
static void transpose(const Activation& x, int width, Word* transposed) {
    auto* row = (const Word*)x.rows;
    for (int pixel = 0; pixel < x.pixels(); pixel++, transposed += WORDS * width)
        for (int channel = 0; channel < x.channels; channel++, row += WORDS)
            for (int word = 0; word < WORDS; word++) transposed[word * width + channel] = row[word];
}

// Compute the gradient to weights (outs, taps, ins): x, transposed, times dz, summed over pixels and images.
// size, width: of x. Here the vector is input channels.
static void convolve_gradients(const Word* x, int size, int width, const Activation& dz, const Kernel& kernel,
                               int ins, float* gradient) {
    constexpr int OUTS = 2 * GROUP;
    const int taps = kernel.size * kernel.size, area = dz.size * dz.size;
    for (int out = 0; out < dz.channels; out += OUTS)
        for (int in = 0; in < ins; in += LANES)
            for (int tap = 0; tap < taps; tap++) {
                Vector sums[OUTS] = {};
                for (int pixel = 0; pixel < dz.pixels(); pixel++) {
                    int down = pixel / dz.size % dz.size * kernel.stride + tap / kernel.size - kernel.size / 2;
                    int right = pixel % dz.size * kernel.stride + tap % kernel.size - kernel.size / 2;
                    if (down < 0 || down >= size || right < 0 || right >= size) continue;
                    size_t pixel_of_x = (pixel / area * size + down) * size + right;
                    auto* of_x = x + pixel_of_x * WORDS * width + in;
                    auto* of_dz = (const Word*)dz.row(pixel, out);
                    for (int word = 0; word < WORDS; word++, of_x += width)
                        for (int i = 0; i < OUTS; i++)
                            sums[i] = multiply_add(sums[i], *(const Vector*)of_x, of_dz[i * WORDS + word]);
                }
                for (int i = 0; i < OUTS; i++)
                    std::memcpy(gradient + ((out + i) * taps + tap) * ins + in, &sums[i],
                                std::min(LANES, ins - in) * sizeof(float));
            }
}

// ---- batch norm, addition of a shortcut, ReLU ---------------------------------------------------------------

struct Statistics {  // of each channel, over pixels and images of a batch; the variance is the biased one
    std::vector<float> mean, variance, inverse_deviation;
};

// Differences from one of the values are summed, so that a large mean does not cancel the variance.
static void batch_statistics(const Activation& z, Statistics& of) {
    const float number = (float)z.pixels() * IMAGES;
    for (int channel = 0; channel < z.channels; channel += GROUP) {
        Vector sums[GROUP] = {}, squares[GROUP] = {};
        float first[GROUP];
        for (int i = 0; i < GROUP; i++) first[i] = load(z.row(0, channel + i), 0)[0];
        for (int pixel = 0; pixel < z.pixels(); pixel++)
            for (int i = 0; i < GROUP; i++)
                for (int half = 0; half < 2; half++) {
                    Vector difference = load(z.row(pixel, channel + i), half) - first[i];
                    sums[i] += difference;
                    squares[i] += difference * difference;
                }
        for (int i = 0; i < GROUP; i++) {
            float mean = sum_of_lanes(sums[i]) / number;
            of.mean[channel + i] = first[i] + mean;
            of.variance[channel + i] = sum_of_lanes(squares[i]) / number - mean * mean;
            of.inverse_deviation[channel + i] = 1 / std::sqrt(of.variance[channel + i] + 1e-5f);  // as in torch
        }
    }
}

struct Shortcut {  // every stride-th pixel of x, and nothing for the channels that x does not have
    Activation x;
    int stride;

    Number* row(int pixel, int size, int channel) const {  // that is added to a pixel of images of this size
        return x.row(x.pixel(pixel / (size * size), pixel / size % size * stride, pixel % size * stride), channel);
    }
};

// Compute y = relu(batch norm(z) + shortcut), without a shortcut where that is null.
static void batch_norm(const Activation& z, const Statistics& of, const float* gamma, const float* beta,
                       const Shortcut* shortcut, bool relu, const Activation& y) {
    for (int pixel = 0; pixel < z.pixels(); pixel++)
        for (int channel = 0; channel < z.channels; channel++) {
            const float scale = gamma[channel] * of.inverse_deviation[channel];
            const Number* added = nullptr;
            if (shortcut && channel < shortcut->x.channels) added = shortcut->row(pixel, z.size, channel);
            Vector halves[2];
            for (int half = 0; half < 2; half++) {
                Vector value = load(z.row(pixel, channel), half);
                value = (value - of.mean[channel]) * scale + beta[channel];
                if (added) value = rounded(value) + load(added, half);
                halves[half] = relu ? (value < ZERO ? ZERO : value) : value;  // NaN stays NaN
            }
            store(y.row(pixel, channel), halves);
        }
}

// Compute from dy, the gradient to y, those to z, gamma and beta. dy becomes zero where ReLU made y zero; y is
// null where there is no ReLU.
static void batch_norm_gradients(const Activation& dy, const Activation* y, const Activation& z,
                                 const Statistics& of, const float* gamma, const Activation& dz, float* of_gamma,
                                 float* of_beta) {
    for (int channel = 0; channel < z.channels; channel += GROUP) {
        Vector sums[GROUP] = {}, products[GROUP] = {};
        for (int pixel = 0; pixel < z.pixels(); pixel++)
            for (int i = 0; i < GROUP; i++) {
                Vector halves[2];
                for (int half = 0; half < 2; half++) {
                    halves[half] = load(dy.row(pixel, channel + i), half);
                    if (y) halves[half] = load(y->row(pixel, channel + i), half) <= ZERO ? ZERO : halves[half];
                    sums[i] += halves[half];
                    products[i] += halves[half] * (load(z.row(pixel, channel + i), half) - of.mean[channel + i]);
                }
                if (y) store(dy.row(pixel, channel + i), halves);
            }
        for (int i = 0; i < GROUP; i++) {
            of_beta[channel + i] = sum_of_lanes(sums[i]);
            of_gamma[channel + i] = sum_of_lanes(products[i]) * of.inverse_deviation[channel + i];
        }
    }
    const float number = (float)z.pixels() * IMAGES;
    for (int pixel = 0; pixel < z.pixels(); pixel++)
        for (int channel = 0; channel < z.channels; channel++) {
            const float mean = of_beta[channel] / number, scale = gamma[channel] * of.inverse_deviation[channel];
            const float slope = of_gamma[channel] / number * of.inverse_deviation[channel];
            Vector halves[2];
            for (int half = 0; half < 2; half++) {
                Vector centred = load(z.row(pixel, channel), half) - of.mean[channel];
                halves[half] = (load(dy.row(pixel, channel), half) - mean - centred * slope) * scale;
            }
            store(dz.row(pixel, channel), halves);
        }
}

// Add the gradient to a shortcut's output, dy, to that to its input.
static void add_gradients(const Activation& dy, const Shortcut& shortcut) {
    for (int pixel = 0; pixel < dy.pixels(); pixel++)
        for (int channel = 0; channel < std::min(dy.channels, shortcut.x.channels); channel++) {
            auto *from = dy.row(pixel, channel), *to = shortcut.row(pixel, dy.size, channel);
            const Vector halves[] = {load(to, 0) + load(from, 0), load(to, 1) + load(from, 1)};
            store(to, halves);
        }
}

// ---- layers, blocks, networks -------------------------------------------------------------------------------

struct Parameters {  // of a layer, torch's
    float *weight, *gamma, *beta, *running_mean, *running_variance;
};
struct Gradients {
    float *weight, *gamma, *beta;
};
struct Scratch {  // as much as any layer needs; between: the gradient to what the first layer of a block gives
    Number *dy, *between, *dz, *dx, *rounded;
    Word *arranged, *transposed;
};

struct Layer {  // a convolution, BN and ReLU
    int ins;  // input channels; x has others beyond them, which are zero
    bool relu;
    Kernel kernel;
    Activation x, z, y;
    Statistics statistics;

    Layer(Memory& memory, const Activation& x, int ins, int channels, int size, int stride, bool relu)
        : ins(ins), relu(relu), kernel(size, stride, x.size), x(x) {
        z = memory.take(x.blocks, kernel.forward.size(), channels);
        y = memory.take(x.blocks, kernel.forward.size(), channels);
        statistics.mean = statistics.variance = statistics.inverse_deviation = std::vector<float>(channels);
    }
    int taps() const { return kernel.size * kernel.size; }

    void round_weights(const float* weight, Number* to) const {
        for (int row = 0; row < z.channels * taps(); row++, weight += ins, to += x.channels) {
            std::transform(weight, weight + ins, to, [](float value) { return rounded(value); });
            std::fill(to + ins, to + x.channels, 0);
        }
    }

    void forward(const Parameters& of, const Shortcut* shortcut, bool update_running, const Scratch& scratch) {
        round_weights(of.weight, scratch.rounded);
        arrange(scratch.rounded, z.channels, taps(), x.channels, scratch.arranged);
        convolve(x, kernel.forward, kernel.size, scratch.arranged, z);
        batch_statistics(z, statistics);
        const float number = (float)z.pixels() * IMAGES;
        for (int i = 0; i < z.channels && update_running; i++) {  // by torch's momentum
            const float variance = statistics.variance[i] * number / (number - 1);
            of.running_mean[i] += 0.1f * (statistics.mean[i] - of.running_mean[i]);
            of.running_variance[i] += 0.1f * (variance - of.running_variance[i]);
        }
        batch_norm(z, statistics, of.gamma, of.beta, shortcut, relu, y);
    }

    // Compute from dy (see batch_norm_gradients) the gradients to the parameters and, unless dx is null, to x.
    void backward(const Parameters& of, const Gradients& to, Number* dy, Number* dx, const Scratch& scratch) {
        const Activation dz = z.with(scratch.dz);
        batch_norm_gradients(z.with(dy), relu ? &y : nullptr, z, statistics, of.gamma, dz, to.gamma, to.beta);
        const int width = (x.channels + LANES - 1) / LANES * LANES;
        transpose(x, width, scratch.transposed);
        convolve_gradients(scratch.transposed, x.size, width, dz, kernel, ins, to.weight);
        if (!dx) return;
        round_weights(of.weight, scratch.rounded);
        arrange_backward(scratch.rounded, z.channels, taps(), x.channels, scratch.arranged);
        convolve(dz, kernel.backward, kernel.size, scratch.arranged, x.with(dx));
    }
};

enum Kind { PLAIN, IDENTITY, PROJECTION };  // identity: of option A where the shape changes

struct Block {
    Kind kind;
    Layer first, second;
    std::unique_ptr<Layer> projection;

    Block(Memory& memory, const Activation& x, Kind kind, int channels, int stride)
        : kind(kind), first(memory, x, x.channels, channels, 3, stride, true),
          second(memory, first.y, channels, channels, 3, 1, true) {
        if (kind == PROJECTION) projection.reset(new Layer(memory, x, x.channels, channels, 1, stride, false));
    }
    int num_layers() const { return projection ? 3 : 2; }

    void forward(const Parameters* of, bool update_running, const Scratch& scratch) {
        first.forward(of[0], nullptr, update_running, scratch);
        if (projection) projection->forward(of[2], nullptr, update_running, scratch);
        Shortcut shortcut = {first.x, first.kernel.stride};
        if (projection) shortcut = {projection->y, 1};
        second.forward(of[1], kind == PLAIN ? nullptr : &shortcut, update_running, scratch);
    }

    // Compute from scratch.dy the gradients to the parameters and to x, which is scratch.dx. From the second layer
    // on, dy is zero where ReLU made y zero: the gradient to what the shortcut adds.
    void backward(const Parameters* of, const Gradients* to, const Scratch& scratch) {
        const Activation dx = first.x.with(scratch.dx);
        second.backward(of[1], to[1], scratch.dy, scratch.between, scratch);
        first.backward(of[0], to[0], scratch.between, scratch.dx, scratch);
        if (kind == IDENTITY) add_gradients(second.y.with(scratch.dy), {dx, first.kernel.stride});
        if (!projection) return;
        projection->backward(of[2], to[2], scratch.dy, scratch.between, scratch);
        add_gradients(dx.with(scratch.between), {dx, 1});
    }
};

struct Network {
    Memory memory;
    int channels;  // of the images
    std::unique_ptr<Layer> stem;
    std::vector<Block> blocks;
    Activation y;  // of the last block
    Scratch scratch;

    // description: channels of the stem; then kind, channels and stride of each block
    Network(int num_images, int channels, int size, int num_blocks, const int* description) : channels(channels) {
        const Activation x = memory.take(num_images / IMAGES, size, (channels + 3) / 4 * 4);
        stem.reset(new Layer(memory, x, channels, *description++, 3, 1, true));
        y = stem->y;
        size_t most = y.numbers(), weights = 9 * y.channels * x.channels;
        for (int i = 0; i < num_blocks; i++, description += 3) {
            blocks.emplace_back(memory, y, (Kind)description[0], description[1], description[2]);
            y = blocks.back().second.y;
            most = std::max(most, y.numbers());
            weights = std::max(weights, (size_t)9 * y.channels * y.channels);
        }
        for (Number** gradient : {&scratch.dy, &scratch.between, &scratch.dz, &scratch.dx})
            *gradient = memory.take<Number>(most);
        scratch.rounded = memory.take<Number>(weights);
        scratch.arranged = memory.take<Word>(weights);
        scratch.transposed = memory.take<Word>(most / PER_WORD);
    }

    // images: (N, channels, size, size); features: (N, channels of the last block), the mean over pixels
    void forward(const float* images, const Parameters* of, bool update_running, float* features) {
        const Activation& x = stem->x;
        const int area = x.size * x.size, area_of_y = y.size * y.size;
        for (int pixel = 0; pixel < x.pixels(); pixel++)
            for (int channel = 0; channel < channels; channel++) {
                Vector halves[2];
                for (int i = 0; i < IMAGES; i++) {
                    size_t image = pixel / area * IMAGES + i;
                    lane(halves, i) = images[(image * channels + channel) * area + pixel % area];
                }
                store(x.row(pixel, channel), halves);
            }
        stem->forward(*of++, nullptr, update_running, scratch);
        for (Block& block : blocks) {
            block.forward(of, update_running, scratch);
            of += block.num_layers();
        }
        for (int block = 0; block < y.blocks; block++)
            for (int channel = 0; channel < y.channels; channel++) {
                Vector halves[2] = {};
                for (int pixel = block * area_of_y; pixel < (block + 1) * area_of_y; pixel++)
                    for (int half = 0; half < 2; half++) halves[half] += load(y.row(pixel, channel), half);
                for (int i = 0; i < IMAGES; i++)
                    features[(block * IMAGES + i) * y.channels + channel] = lane(halves, i) / area_of_y;
            }
    }

    // of_features: the gradient to the features
    void backward(const float* of_features, const Parameters* of, const Gradients* to) {
        const int area = y.size * y.size;
        for (int block = 0; block < y.blocks; block++)
            for (int channel = 0; channel < y.channels; channel++) {
                Vector halves[2];
                for (int i = 0; i < IMAGES; i++)
                    lane(halves, i) = of_features[(block * IMAGES + i) * y.channels + channel] / area;
                for (int pixel = block * area; pixel < (block + 1) * area; pixel++)
                    store(y.with(scratch.dy).row(pixel, channel), halves);
            }
        int layer = 1;
        for (Block& block : blocks) layer += block.num_layers();
        for (auto block = blocks.rbegin(); block != blocks.rend(); block++) {
            layer -= block->num_layers();
            block->backward(of + layer, to + layer, scratch);
            std::swap(scratch.dy, scratch.dx);
        }
        stem->backward(of[0], to[0], scratch.dy, nullptr, scratch);
    }
};

extern "C" {
Network* create(int num_images, int channels, int size, int num_blocks, const int* description) {
    return new Network(num_images, channels, size, num_blocks, description);
}
void destroy(Network* network) { delete network; }
void forward(Network* network, const float* images, const Parameters* of, int update_running, float* features) {
    network->forward(images, of, update_running, features);
}
void backward(Network* network, const float* of_features, const Parameters* of, const Gradients* to) {
    network->backward(of_features, of, to);
}
}
