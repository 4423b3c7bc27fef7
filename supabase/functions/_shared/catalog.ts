// Made from state/catalog.py by `make docs`; change it there.

export interface JobType {
  readonly name: string;
  readonly queue: string;
  readonly modelVariant: string;
  readonly isSDXL: boolean;
  /** Tokens for an image, or for a video. */
  readonly price: number;
}

export const JOB_TYPES: Readonly<Record<string, JobType>> = {
  sdxl_image_fast: {
    name: "sdxl_image_fast",
    queue: "sdxl_queue",
    modelVariant: "lustify_sdxl",
    isSDXL: true,
    price: 1,
  },
  sdxl_image_high: {
    name: "sdxl_image_high",
    queue: "sdxl_queue",
    modelVariant: "lustify_sdxl",
    isSDXL: true,
    price: 2,
  },
  sdxl_image_premium: {
    name: "sdxl_image_premium",
    queue: "sdxl_queue",
    modelVariant: "lustify_sdxl",
    isSDXL: true,
    price: 4,
  },
  sdxl_img2img: {
    name: "sdxl_img2img",
    queue: "sdxl_queue",
    modelVariant: "lustify_sdxl",
    isSDXL: true,
    price: 2,
  },
  image_fast: {
    name: "image_fast",
    queue: "wan_queue",
    modelVariant: "wan_2_1_1_3b",
    isSDXL: false,
    price: 2,
  },
  image_high: {
    name: "image_high",
    queue: "wan_queue",
    modelVariant: "wan_2_1_1_3b",
    isSDXL: false,
    price: 4,
  },
  video_fast: {
    name: "video_fast",
    queue: "wan_queue",
    modelVariant: "wan_2_1_1_3b",
    isSDXL: false,
    price: 20,
  },
  video_high: {
    name: "video_high",
    queue: "wan_queue",
    modelVariant: "wan_2_1_1_3b",
    isSDXL: false,
    price: 40,
  },
  image7b_fast_enhanced: {
    name: "image7b_fast_enhanced",
    queue: "wan_queue",
    modelVariant: "wan_2_1_1_3b",
    isSDXL: false,
    price: 3,
  },
  image7b_high_enhanced: {
    name: "image7b_high_enhanced",
    queue: "wan_queue",
    modelVariant: "wan_2_1_1_3b",
    isSDXL: false,
    price: 5,
  },
  video7b_fast_enhanced: {
    name: "video7b_fast_enhanced",
    queue: "wan_queue",
    modelVariant: "wan_2_1_1_3b",
    isSDXL: false,
    price: 22,
  },
  video7b_high_enhanced: {
    name: "video7b_high_enhanced",
    queue: "wan_queue",
    modelVariant: "wan_2_1_1_3b",
    isSDXL: false,
    price: 42,
  },
};
