"""The types of steps that a workflow may contain: steps that only compute. All other types are refused.

The list was made by reading the blocks of roboflow-workflows 0.2.14. None of these reads files, opens connections,
reads the environment or runs code of the workflow (icon_visualization writes a temporary file of its own). A type
that a later version adds is refused until it is listed here or in SAM3_WORKFLOW_STEPS.
"""

SAM3 = (
    "roboflow_core/sam3@v1",
    "roboflow_core/sam3@v2",
    "roboflow_core/sam3@v3",
    "roboflow_core/sam3_interactive@v1",
    "roboflow_core/sam3_video@v1",
)

_COMPUTING = {
    "visualizations": """
        anomaly_heatmap_visualization@v1 background_color_visualization@v1 =BackgroundColorVisualization
        blur_visualization@v1 =BlurVisualization bounding_box_visualization@v1 =BoundingBoxVisualization
        circle_visualization@v1 =CircleVisualization classification_label_visualization@v1
        color_visualization@v1 =ColorVisualization corner_visualization@v1 =CornerVisualization
        crop_visualization@v1 =CropVisualization dot_visualization@v1 =DotVisualization
        ellipse_visualization@v1 =EllipseVisualization grid_visualization@v1 halo_visualization@v1
        =HaloVisualization halo_visualization@v2 heatmap_visualization@v1 =HeatmapVisualization
        icon_visualization@v1 =IconVisualization keypoint_visualization@v1 =KeypointVisualization
        label_visualization@v1 =LabelVisualization label_visualization@v2 line_counter_visualization@v1
        mask_visualization@v1 =MaskVisualization model_comparison_visualization@v1
        pixelate_visualization@v1 =PixelateVisualization polygon_visualization@v1 =PolygonVisualization
        polygon_visualization@v2 polygon_zone_visualization@v1 reference_path_visualization@v1
        rich_label_visualization@v1 text_display@v1 trace_visualization@v1 triangle_visualization@v1
        =TriangleVisualization
    """,
    "transformations": """
        absolute_static_crop@v1 =AbsoluteStaticCrop bounding_rect@v1 byte_tracker@v1 byte_tracker@v2
        byte_tracker@v3 camera-calibration@v1 detection_offset@v1 =DetectionOffset detections_combine@v1
        detections_filter@v1 =DetectionsFilter detections_merge@v1 detections_transformation@v1
        =DetectionsTransformation dynamic_crop@v1 =DynamicCrop =Crop dynamic_zone@v1 =DynamicZone
        geotag_detection@v1 image_slicer@v1 image_slicer@v2 per_class_confidence_filter@v1
        perspective_correction@v1 =PerspectiveCorrection qr_code_generator@v1 =QRCodeGenerator
        relative_statoic_crop@v1 =RelativeStaticCrop stabilize_detections@v1 stitch_images@v1
        stitch_ocr_detections@v1 stitch_ocr_detections@v2 track_class_lock@v1
    """,
    "fusion": """
        buffer@v1 =Buffer detections_classes_replacement@v1 =DetectionsClassesReplacement
        detections_consensus@v1 =DetectionsConsensus detections_difference@v1 =DetectionsDifference
        detections_list_rollup@v1 =DetectionsListRollUp detections_stitch@v1 dimension_collapse@v1
        =DimensionCollapse frame_delay@v1 =FrameDelay time_travel@v1 =TimeTravel image_stack@v1
        overlap_analysis@v1 =OverlapAnalysis
    """,
    "formatters": """
        csv_formatter@v1 current_time@v1 expression@v1 =Expression first_non_empty_or_default@v1
        =FirstNonEmptyOrDefault json_parser@v1 property_definition@v1 =PropertyDefinition
        =PropertyExtraction string_template@v1 vlm_as_classifier@v1 vlm_as_classifier@v2
        vlm_as_detector@v1 vlm_as_detector@v2
    """,
    "flow_control": """
        continue_if@v1 =ContinueIf delta_filter@v1 rate_limiter@v1 switch_case@v1 =SwitchCase
    """,
    "classical_cv": """
        auto_rotate_on_edges@v1 background_subtraction@v1 camera_focus@v1 camera_focus@v2
        contours_detection@v1 contrast_enhancement@v1 contrast_equalization@v1 convert_grayscale@v1
        detections_nearest_neighbor@v1 distance_measurement@v1 dominant_color@v1 image_blur@v1
        image_preprocessing@v1 mask_area_measurement@v1 mask_edge_snap@v1
        morphological_transformation@v1 morphological_transformation@v2 motion_detection@v1
        pixel_color_count@v1 sift@v1 sift_comparison@v1 sift_comparison@v2 size_measurement@v1
        template_matching@v1 threshold@v1
    """,
    "analytics": """
        data_aggregator@v1 detection_event_log@v1 line_counter@v1 line_counter@v2 overlap@v1
        path_deviation_analytics@v1 path_deviation_analytics@v2 time_in_zone@v1 time_in_zone@v2
        time_in_zone@v3 velocity@v1
    """,
    "trackers": """
        trackers_botsort@v1 trackers_bytetrack@v1 trackers_ocsort@v1 trackers_sort@v1
    """,
    "sampling": """
        identify_changes@v1 identify_outliers@v1
    """,
    "math": """
        cosine_similarity@v1
    """,
}
"""Types by folder of the package; `=Name` is a legacy name, any other is short for `roboflow_core/...`."""

ALLOWED = frozenset(SAM3) | {
    name.removeprefix("=") if name.startswith("=") else f"roboflow_core/{name}"
    for names in _COMPUTING.values()
    for name in names.split()
}
"""Types of steps that every server allows."""
