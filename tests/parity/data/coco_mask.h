// Written by tests/parity/record_coco_mask.py with pycocotools.
#pragma once

typedef struct RecordedPolygon {
    int height, width, num_points;
    double points[32];
    const char *counts;
    int area;
    double box[4];
} RecordedPolygon;

static const RecordedPolygon recorded_polygons[] = {
    {49, 9, 4, {7.0, 29.0, 0.0, 21.0, 4.0, 6.0, 7.0, 4.0}, "c02[16K4K5M3N2N2m2", 105, {0.0, 4.0, 7.0, 24.0}},
    {18, 29, 6, {15.03, 7.63, 17.27, 13.71, 29.05, 4.73, 19.24, 12.89, 7.89, -0.87, 29.6, 5.01}, "R51a01O2O0O1O1O0EK:4HM53LM33NL247OFM52KN62501O00AO=12O\?", 77, {9.0, 0.0, 19.0, 13.0}},
    {12, 22, 3, {13.06, 5.62, 17.61, -0.2, 16.01, 4.34}, "\\5192OOm1", 6, {14.0, 1.0, 3.0, 4.0}},
    {54, 18, 3, {12.0, 53.0, 3.0, 35.0, 5.0, 41.0}, "n71g11OO100000n;", 7, {4.0, 38.0, 6.0, 11.0}},
    {21, 44, 8, {37.97, 14.14, 30.85, 17.89, 18.54, 16.48, 40.32, 1.31, 38.93, 8.05, 21.02, 2.33, 31.6, 5.69, 39.96, 5.31}, "c=2b0100O1O100O1O101N1O1O010O00GG89HG79IH77JJ47LI28OFOP3", 139, {20.0, 2.0, 20.0, 16.0}},
    {17, 33, 8, {12.86, 10.61, 5.49, 2.52, 25.46, 13.22, 18.93, 16.37, 5.82, 15.06, 4.48, 17.18, 20.99, 10.5, 33.58, 13.87}, "T323O80J050K14OM19100FO22MN42KN52JO70I070H19NG29NG2:MF3<00O010O1NC0>0100000d10oM", 89, {5.0, 3.0, 28.0, 14.0}},
    {23, 48, 11, {17.0, 1.0, 8.0, 4.0, 43.0, 2.0, 13.0, 11.0, 42.0, 23.0, 35.0, 4.0, 26.0, 17.0, 0.0, 16.0, 17.0, 14.0, 33.0, 16.0, 25.0, 13.0}, "[31f00000000D010O010O010N12ON111NOOOK250OOL150OOL16NO2J0>1BO8OK65KJ563HG83H38MJ16OKNMN83MNKO83NMJ083NO20NNJ181M0KO71L2MM70L4MM6OL94GJ;55O@L=4CO;0E38MG68IH:5FK=27Nc3", 289, {4.0, 1.0, 38.0, 22.0}},
    {7, 42, 4, {20.78, 0.62, 20.11, 3.78, 33.66, 2.68, -1.19, 3.71}, ":1600000000000O0100000000000O1000000000OL05000R4", 28, {1.0, 1.0, 22.0, 3.0}},
    {13, 16, 3, {6.04, 4.79, 15.21, 4.97, 5.34, 4.33}, "b21m3", 1, {6.0, 4.0, 1.0, 1.0}},
    {45, 32, 7, {2.0, 25.0, 31.0, 26.0, 25.0, 45.0, 28.0, 35.0, 27.0, 38.0, 7.0, 22.0, 10.0, 11.0}, "b31Z12O1N2N2NMoNNP1OUO0i0O[O0_20bN001O1O1O10O01O1O1O1O001O1O1O1ON2N2M3Lg0", 156, {2.0, 12.0, 29.0, 26.0}},
    {31, 36, 7, {22.7, 18.31, 2.33, 13.54, 13.64, 22.55, 1.69, 4.21, 18.5, 12.25, 24.55, 9.8, 6.01, 30.23}, "R32n01WONa03^ONa04^OLb04]OM8NO:0F26FL6O45HK2085FK00;5GJL2>3GM:3EM=3AM`03_ONb061J\\O0e0O]O0b00_OOb00_OOb00_O0`00b;", 159, {3.0, 5.0, 21.0, 24.0}},
    {22, 28, 5, {3.13, 5.67, 9.06, 4.35, 15.12, 21.57, 2.48, 8.95, 19.18, 20.31}, "m223O=2CN<3DM;3EN94GL:3FM;2DO>OB1b00NN_O2a0NA0\?040o6", 56, {4.0, 4.0, 13.0, 17.0}},
};

typedef struct RecordedInstances {
    const char *name;
    int count;
    uint64_t hash;
} RecordedInstances;

static const RecordedInstances recorded_instances[] = {
    {"refcoco_subset/refcoco/instances.json", 148, 0x5f61ccbc93893fd0u},
    {"refcoco_subset/refcoco+/instances.json", 148, 0x5f61ccbc93893fd0u},
    {"refcoco_subset/refcocog/instances.json", 102, 0x89dda59090de72f0u},
};
