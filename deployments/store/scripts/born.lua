local image = image_of(ARGV[4], ARGV[5])
return image and image.born
