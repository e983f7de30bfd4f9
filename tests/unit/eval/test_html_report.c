// rooms: eval data autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "eval/pages/html_report.h"
#include "eval/pages/overlay.h"
#include "eval/pages/palette.h"
#include "eval/pages/plot.h"
#include "eval/pages/sortable_table.h"
#include "tests/unit/temporary_folder.h"
#include "tests/unit/well_formed.h"

static void expect(char *made, const char *expected) {
    assert_string_equal(made, expected);
    free(made);
}

static void text_is_escaped(void **state) {
    (void)state;
    expect(html_escape("<b a=\"1\" c='2'> & \xc3\xa9"),
           "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt; &amp; \xc3\xa9");
    expect(html_escape("a\nb\tc\x01"), "a\nb\tc\xef\xbf\xbd");
    // Cut off, overlong, a surrogate, beyond Unicode: never the bytes themselves.
    expect(html_escape("\xc3"), "\xef\xbf\xbd");
    expect(html_escape("\xc0\xafx"), "\xef\xbf\xbd\xef\xbf\xbdx");
    expect(html_escape("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    expect(html_escape("\xf0\x9f\x98\x80\xf5"), "\xf0\x9f\x98\x80\xef\xbf\xbd");
}

static void base64_is_that_of_rfc_4648(void **state) {
    (void)state;
    const char *const expected[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (size_t i = 0; i <= 6; i++) expect(base64_encode("foobar", i), expected[i]);
    const unsigned char high[] = {0xff, 0xfe, 0xfb};
    expect(base64_encode(high, 3), "//77");
}

static void ticks_are_round_and_in_range(void **state) {
    (void)state;
    double ticks[16];
    int count = plot_ticks(0, 1, 5, ticks, 16);
    assert_int_equal(count, 6);
    assert_true(ticks[0] == 0 && ticks[3] == 3 * 0.2);
    count = plot_ticks(-3, 612, 7, ticks, 16);
    assert_int_equal(count, 7);
    assert_true(ticks[0] == 0 && ticks[6] == 600);
    count = plot_ticks(1.2e-7, 9.7e-7, 5, ticks, 16);
    assert_in_range(count, 4, 7);
    for (int i = 0; i < count; i++) assert_true(ticks[i] >= 1.1e-7 && ticks[i] <= 9.8e-7);
    assert_int_equal(plot_ticks(1, 1, 5, ticks, 16), 0);
    assert_int_equal(plot_ticks(NAN, 1, 5, ticks, 16), 0);
    assert_int_equal(plot_ticks(0, 1000, 500, ticks, 16), 16);
}

static Plot loss_plot(const PlotSeries *series, int count) {
    return (Plot){.title = "Loss <per token>",
                  .x_label = "step",
                  .y_label = "loss",
                  .series = series,
                  .num_series = count};
}

static void a_chart_draws_the_points_where_they_are(void **state) {
    (void)state;
    const double x[] = {0, 50, 100}, y[] = {0, 1, 0};
    const PlotSeries series = {.label = "a & b", .x = x, .y = y, .count = 3};
    Plot plot = loss_plot(&series, 1);
    plot.width = 76 + 16 + 200;
    plot.height = 34 + 46 + 105;
    char *svg = plot_svg(&plot);
    expect_well_formed(svg);
    // 5% of air above 1, none below 0: 105 pixels high are 1.05.
    assert_non_null(strstr(svg, "d=\"M76.0 139.0L176.0 39.0L276.0 139.0\""));
    assert_non_null(strstr(svg, "a &amp; b"));
    assert_non_null(strstr(svg, "<title>Loss &lt;per token&gt;</title>"));
    free(svg);
}

static void a_smoothed_series_is_drawn_over_its_data(void **state) {
    (void)state;
    const double x[] = {0, 1, 2, 3}, y[] = {1, 0, NAN, 1};
    const PlotSeries series[] = {{.label = "one", .x = x, .y = y, .count = 4, .smoothing = 0.5},
                                 {.label = "two", .x = x, .y = y, .count = 4}};
    Plot plot = loss_plot(series, 2);
    char *svg = plot_svg(&plot);
    expect_well_formed(svg);
    assert_int_equal(count_of(svg, "stroke-width=\"2\" d="), 1);
    assert_int_equal(count_of(svg, "stroke-opacity=\".35\""), 1);
    assert_null(strstr(svg, "nan"));
    // 1, then (0.25 * 1 + 0.5 * 0) / 0.75 = 1/3 of the height, and (0.125 + 0.5) / 0.875 at the
    // end.
    assert_non_null(strstr(svg, "d=\"M76.0 43.5L205.3 170.5L464.0 97.9\""));
    free(svg);
}

static void many_points_keep_their_peaks(void **state) {
    (void)state;
    enum { MANY = 50000 };
    double *x = malloc(MANY * sizeof *x), *y = malloc(MANY * sizeof *y);
    for (int i = 0; i < MANY; i++) {
        x[i] = i;
        y[i] = i == 31234 ? 10 : 1;
    }
    const PlotSeries series = {.label = "loss", .x = x, .y = y, .count = MANY, .smoothing = 0.9};
    Plot plot = loss_plot(&series, 1);
    char *svg = plot_svg(&plot);
    assert_true(strlen(svg) < 40000);
    assert_non_null(strstr(svg, " 42.6L")); // y = 10 on an axis from 0 to 10.45
    free(svg);
    free(x);
    free(y);
}

static void charts_of_nothing_and_of_one_value_are_drawn(void **state) {
    (void)state;
    Plot nothing = loss_plot(NULL, 0);
    char *svg = plot_svg(&nothing);
    assert_non_null(strstr(svg, "nothing was recorded"));
    free(svg);
    const double x = 7, y[] = {3, 0, -2, 1e300};
    for (int i = 0; i < 4; i++) {
        const PlotSeries series = {.label = "one", .x = &x, .y = &y[i], .count = 1};
        Plot plot = loss_plot(&series, 1);
        svg = plot_svg(&plot);
        expect_well_formed(svg);
        assert_null(strstr(svg, "nan"));
        assert_null(strstr(svg, "inf"));
        free(svg);
    }
}

static void a_page_holds_all_that_was_put_in(void **state) {
    (void)state;
    HtmlReport *report = html_report_new("Runs & <more>", "seed 42");
    html_report_heading(report, "Figures");
    const KeyFigure figures[] = {{"0.735", "point accuracy", "random 0.046"},
                                 {"9:12", "time", NULL}};
    html_report_key_figures(report, figures, 2);
    const char *const headers[] = {"model", "accuracy"};
    const char *const cells[] = {"DiffLMM", "0.735", "untrained", "0.051"};
    html_report_table(report, headers, cells, 2, 2, 0);
    Plot nothing = loss_plot(NULL, 0);
    char *svg = plot_svg(&nothing);
    html_report_chart(report, svg, "loss");
    html_report_chart(report, svg, NULL);
    free(svg);
    Image image = image_new(3, 2);
    memset(image.pixels, 7, 18);
    Error error = {0};
    assert_true(html_report_picture(report, &image, "a <b>ring</b>", NULL, &error));
    html_report_details(report, "configuration", "a: <b>\n");
    char *page = html_report_page(report);
    expect_well_formed(page);
    assert_non_null(strstr(page, "<title>Runs &amp; &lt;more&gt;</title>"));
    assert_int_equal(count_of(page, "class=\"charts\""), 1);
    assert_int_equal(count_of(page, "<tr class=\"emphasised\"><td>DiffLMM"), 1);
    assert_non_null(strstr(page, "<td class=\"number\">0.051</td>"));
    assert_non_null(strstr(page, "data:image/png;base64,iVBORw0KGgo"));
    assert_non_null(strstr(page, "<pre>a: &lt;b&gt;\n</pre>"));
    assert_null(strstr(page, "http://w3"));
    assert_int_equal(count_of(page, "src="), 1); // and nothing is loaded from elsewhere
    assert_null(strstr(page, "url("));
    free(page);
    image_free(&image);
    html_report_free(report);
}

static void a_page_that_cannot_be_written_is_named(void **state) {
    (void)state;
    HtmlReport *report = html_report_new("t", NULL);
    Error error = {0};
    assert_false(html_report_save(report, "/nowhere/index.html", &error));
    assert_non_null(strstr(error.message, "/nowhere/index.html"));
    assert_true(html_report_save(report, in_folder("index.html"), &error));
    assert_int_equal(files_in_folder(), 1);
    html_report_free(report);
}

static double linear_light(uint8_t value) {
    double v = value / 255.0;
    return v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
}

static double lab_curve(double t) {
    return t > 216.0 / 24389 ? cbrt(t) : (24389.0 / 27 * t + 16) / 116;
}

static void to_lab(Color color, double lab[3]) {
    double r = linear_light(color.red), g = linear_light(color.green), b = linear_light(color.blue);
    double x = lab_curve((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047);
    double y = lab_curve(0.2126729 * r + 0.7151522 * g + 0.0721750 * b);
    double z = lab_curve((0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883);
    lab[0] = 116 * y - 16;
    lab[1] = 500 * (x - y);
    lab[2] = 200 * (y - z);
}

static void palette_colors_are_far_apart(void **state) {
    (void)state;
    for (int i = 0; i < PALETTE_SIZE; i++)
        for (int j = 0; j < i; j++) {
            double a[3], b[3], sum = 0;
            to_lab(palette_color(i), a);
            to_lab(palette_color(j), b);
            for (int c = 0; c < 3; c++) sum += (a[c] - b[c]) * (a[c] - b[c]);
            if (sqrt(sum) < 20) fail_msg("colours %d and %d are %.1f apart", i, j, sqrt(sum));
        }
    assert_int_equal(palette_color(PALETTE_SIZE + 2).red, palette_color(2).red);
}

static const uint8_t *pixel(const Image *image, int row, int column) {
    return image->pixels + 3 * (row * image->width + column);
}

static void an_overlay_tints_masks_and_marks_points(void **state) {
    (void)state;
    Image image = image_new(128, 96);
    memset(image.pixels, 100, 128 * 96 * 3);
    uint8_t *mask = calloc(1, 128 * 96);
    for (int row = 10; row < 50; row++) memset(mask + row * 128 + 20, 1, 60);
    GroundedPhrase items[2] = {{.point = {45, 70}, .mask = mask},
                               {.point = {95, 127}, .mask = NULL}};
    const Grounding grounding = {items, 2};
    int scale = overlay_scale(&image, 512);
    assert_int_equal(scale, 4);
    Image picture = overlay_draw(&image, &grounding, scale);
    assert_int_equal(picture.width, 512);
    assert_int_equal(picture.height, 384);
    Color color = palette_color(0);
    assert_int_equal(pixel(&picture, 4 * 10, 4 * 40)[0], color.red); // the mask's upper edge
    assert_int_equal(pixel(&picture, 4 * 50 - 1, 4 * 40)[2], color.blue);
    assert_int_equal(pixel(&picture, 4 * 20, 4 * 40)[2],
                     lrintf(100 + 0.38f * (float)(color.blue - 100)));
    assert_int_equal(pixel(&picture, 4 * 60, 4 * 40)[0], 100); // elsewhere nothing changes
    const uint8_t *marker = pixel(&picture, 4 * 45 + 2, 4 * 70 + 2 + 9); // beside the number
    assert_int_equal(marker[0], color.red);
    assert_int_equal(pixel(&picture, 383, 511 - 9)[0], palette_color(1).red); // in the corner too
    image_free(&picture);
    image_free(&image);
    free(mask);
}

static void overlays_of_any_size_stay_within_the_picture(void **state) {
    (void)state;
    for (int size = 1; size < 40; size += 6) {
        Image image = image_new(size, 1);
        memset(image.pixels, 9, 3 * size);
        uint8_t mask[40];
        memset(mask, 1, sizeof mask);
        GroundedPhrase items[12];
        for (int i = 0; i < 12; i++)
            items[i] = (GroundedPhrase){.point = {0, size - 1}, .mask = mask};
        const Grounding grounding = {items, 12};
        for (int scale = 1; scale < 4; scale++) {
            Image picture = overlay_draw(&image, &grounding, scale);
            assert_int_equal(picture.width, size * scale);
            image_free(&picture);
        }
        image_free(&image);
    }
    Image large = {.width = 2000, .height = 10, .pixels = NULL};
    assert_int_equal(overlay_scale(&large, 512), 1);
}

static void a_caption_colours_its_phrases(void **state) {
    (void)state;
    const char text[] = "a <ring> and a square";
    GroundedPhrase items[3] = {{.phrase = {.begin = 0, .end = 8}},
                               {.phrase = {.begin = 2, .end = 8}}, // overlaps the first
                               {.phrase = {.begin = 13, .end = 21}}};
    const Grounding grounding = {items, 3};
    char *html = overlay_caption_html(text, &grounding);
    expect_well_formed(html);
    Color first = palette_color(0), third = palette_color(2);
    char expected[512];
    snprintf(expected, sizeof expected,
             "<span class=\"phrase\" style=\"--color: #%02x%02x%02x\">a "
             "&lt;ring&gt;<sup>1</sup></span> and <span class=\"phrase\" style=\"--color: "
             "#%02x%02x%02x\">a square<sup>3</sup></span>",
             first.red, first.green, first.blue, third.red, third.green, third.blue);
    assert_string_equal(html, expected);
    free(html);
    const Grounding nothing = {NULL, 0};
    expect(overlay_caption_html("a & b", &nothing), "a &amp; b");
}

static void intervals_are_bars_beside_each_other(void **state) {
    (void)state;
    const double x[] = {1, 2}, y[] = {1, 2}, low[] = {0, NAN}, high[] = {4, NAN};
    const PlotSeries series[] = {
        {.label = "a", .x = x, .y = y, .count = 2, .low = low, .high = high},
        {.label = "b", .x = x, .y = y, .count = 2, .low = low, .high = high}};
    Plot plot = loss_plot(series, 2);
    char *svg = plot_svg(&plot);
    expect_well_formed(svg);
    // 4% of air beside 1 and 5% above 4; the lines two pixels to the left and to the right.
    assert_non_null(strstr(svg, "d=\"M88.4 234.0V43.5\""));
    assert_non_null(strstr(svg, "d=\"M92.4 234.0V43.5\""));
    free(svg);
}

static void a_logarithmic_axis_has_powers_of_ten(void **state) {
    (void)state;
    const double x[] = {1e-5, 1e-4, 1e-2}, y[] = {0, 1, 0};
    const PlotSeries series = {.label = "", .x = x, .y = y, .count = 3};
    Plot plot = loss_plot(&series, 1);
    plot.x_is_logarithmic = true;
    char *svg = plot_svg(&plot);
    expect_well_formed(svg);
    // A third of the way from 76 to 464.
    assert_non_null(strstr(svg, "M76.0 234.0L205.3 "));
    assert_non_null(strstr(svg, "x=\"205.3\" y=\"252.0\" text-anchor=\"middle\" "
                                "fill-opacity=\".75\">0.0001</text>"));
    assert_int_equal(count_of(svg, "y=\"252.0\""), 4);
    free(svg);
}

static void rows_of_intervals_have_a_dot_and_a_line(void **state) {
    (void)state;
    const PlotInterval rows[] = {
        {.label = "<a>", .value = 0.5, .low = 0.25, .high = 1},
        {.label = "none", .value = NAN, .low = NAN, .high = NAN},
        {.label = "no interval", .value = 0, .low = NAN, .high = NAN, .is_hollow = true},
        {.label = "a name that is too long to stand beside a chart", .value = 0}};
    PlotIntervals plot = {.title = "t", .x_label = "x", .rows = rows, .count = 4, .reference = NAN};
    char *svg = plot_intervals_svg(&plot);
    expect_well_formed(svg);
    assert_int_equal(count_of(svg, "<circle"), 3);
    assert_int_equal(count_of(svg, "class=\"hollow\""), 1);
    assert_non_null(strstr(svg, "<title>&lt;a&gt;: 0.5 (0.25 to 1)</title>"));
    assert_non_null(strstr(svg, "beside a chart: 0"));
    assert_non_null(strstr(svg, "a name that is too long to \u2026</text>"));
    free(svg);
    plot.count = 0;
    svg = plot_intervals_svg(&plot);
    expect_well_formed(svg);
    assert_non_null(strstr(svg, "nothing was recorded"));
    free(svg);
}

static void bars_stand_on_zero(void **state) {
    (void)state;
    const PlotInterval bars[] = {{.label = "0", .value = 1, .low = 0.5, .high = 2},
                                 {.label = "1", .value = -1, .low = NAN, .high = NAN},
                                 {.label = "2", .value = NAN, .low = NAN, .high = NAN}};
    PlotBars plot = {.title = "t",
                     .x_label = "x",
                     .y_label = "y",
                     .bars = bars,
                     .count = 3,
                     .reference = 1.5,
                     .reference_label = "all <maps>"};
    char *svg = plot_bars_svg(&plot);
    expect_well_formed(svg);
    // From -1 to 2 with 5% of air at both ends: 1 is 61.8 of 204 pixels.
    assert_int_equal(count_of(svg, "<rect"), 2);
    assert_int_equal(count_of(svg, "height=\"61.8\""), 2);
    assert_non_null(strstr(svg, "all &lt;maps&gt;"));
    free(svg);
    plot.count = 0;
    svg = plot_bars_svg(&plot);
    assert_non_null(strstr(svg, "nothing was recorded"));
    free(svg);
}

static void the_highest_place_of_a_heat_map_is_framed(void **state) {
    (void)state;
    const char *const names[] = {"0", "1"}, *const notes[] = {"a < b", "b", NULL, "d"};
    const double values[] = {0.5, 1, NAN, 0}, same[] = {1, 1, 1, 1}, none[] = {NAN, NAN, NAN, NAN};
    PlotHeatMap plot = {.title = "t",
                        .x_label = "head",
                        .y_label = "layer",
                        .x_names = names,
                        .y_names = names,
                        .columns = 2,
                        .rows = 2,
                        .values = values,
                        .notes = notes};
    char *svg = plot_heat_map_svg(&plot);
    expect_well_formed(svg);
    assert_int_equal(count_of(svg, "stroke-width=\"1.5\""), 1);
    assert_int_equal(count_of(svg, "<g><title>"), 3);
    assert_non_null(strstr(svg, "<title>a &lt; b</title>"));
    assert_non_null(strstr(svg, "fill-opacity=\"0.78\" stroke=\"currentColor\""));
    free(svg);
    plot.values = same;
    svg = plot_heat_map_svg(&plot);
    expect_well_formed(svg);
    free(svg);
    plot.values = none;
    svg = plot_heat_map_svg(&plot);
    assert_non_null(strstr(svg, "nothing was recorded"));
    free(svg);
}

static void a_sortable_table_has_its_values_and_one_script(void **state) {
    (void)state;
    const TableHeader headers[] = {{"<setting>", false}, {"ap50", true}};
    const TableField fields[] = {{"a & b", "small", NAN, false},
                                 {"0.250", "0.2 to 0.3", 0.25, true},
                                 {"c", NULL, NAN, false},
                                 {"-", NULL, NAN, false}};
    SortableTable table = {headers, fields, 2, 2, 1, 0};
    HtmlReport *report = html_report_new("t", NULL);
    html_report_sortable_table(report, &table);
    html_report_fold_begin(report, "more <of it>");
    html_report_sortable_table(report, &table);
    html_report_chart(report, "<svg></svg>", NULL);
    html_report_fold_end(report);
    char *page = html_report_page(report);
    expect_well_formed(page);
    assert_int_equal(count_of(page, "<script>"), 1);
    assert_int_equal(count_of(page, "<th class=\"number\" aria-sort=\"descending\">ap50</th>"), 2);
    assert_int_equal(count_of(page, "<td class=\"number best\" data-value=\"0.25\">0.250<div "
                                    "class=\"note\">0.2 to 0.3</div></td>"),
                     2);
    assert_int_equal(count_of(page, "data-value=\"NaN\">-</td>"), 2);
    assert_int_equal(count_of(page, "<summary>more &lt;of it&gt;</summary>"), 1);
    free(page);
    html_report_free(report);
}

static void a_link_leads_to_the_file_whatever_its_name(void **state) {
    (void)state;
    HtmlReport *report = html_report_new("t", NULL);
    html_report_link(report, "explorer-a b?\"<\xc3\xa9#%.html", "a & b");
    char *page = html_report_page(report);
    assert_non_null(
        strstr(page, "<a href=\"explorer-a%20b%3F%22%3C%C3%A9%23%25.html\">a &amp; b</a>"));
    expect_well_formed(page);
    free(page);
    html_report_free(report);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_leads_to_the_file_whatever_its_name),
        cmocka_unit_test(text_is_escaped),
        cmocka_unit_test(base64_is_that_of_rfc_4648),
        cmocka_unit_test(ticks_are_round_and_in_range),
        cmocka_unit_test(a_chart_draws_the_points_where_they_are),
        cmocka_unit_test(a_smoothed_series_is_drawn_over_its_data),
        cmocka_unit_test(many_points_keep_their_peaks),
        cmocka_unit_test(charts_of_nothing_and_of_one_value_are_drawn),
        cmocka_unit_test(a_page_holds_all_that_was_put_in),
        IN_FOLDER(a_page_that_cannot_be_written_is_named),
        cmocka_unit_test(palette_colors_are_far_apart),
        cmocka_unit_test(an_overlay_tints_masks_and_marks_points),
        cmocka_unit_test(overlays_of_any_size_stay_within_the_picture),
        cmocka_unit_test(a_caption_colours_its_phrases),
        cmocka_unit_test(intervals_are_bars_beside_each_other),
        cmocka_unit_test(a_logarithmic_axis_has_powers_of_ten),
        cmocka_unit_test(rows_of_intervals_have_a_dot_and_a_line),
        cmocka_unit_test(bars_stand_on_zero),
        cmocka_unit_test(the_highest_place_of_a_heat_map_is_framed),
        cmocka_unit_test(a_sortable_table_has_its_values_and_one_script),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
